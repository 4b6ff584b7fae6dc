# Installs libraries, headers, a CMake package and smelt.pc; tests/test_cpp_package.py uses them.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

file(STRINGS ${PROJECT_SOURCE_DIR}/pyproject.toml version REGEX "^version = ")
string(REGEX REPLACE "[^0-9.]" "" SMELT_VERSION "${version}")

set_target_properties(smelt_kernels PROPERTIES EXPORT_NAME kernels)
set_target_properties(smelt_shared PROPERTIES EXCLUDE_FROM_ALL OFF)
install(TARGETS smelt smelt_kernels smelt_shared EXPORT smeltTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/smelt/smelt.h include/smelt/smelt.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/smelt)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/smelt)
install(EXPORT smeltTargets NAMESPACE smelt:: DESTINATION ${package})
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/smeltConfig.cmake
     "# smelt::smelt is the static library, smelt::shared libsmelt.so.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(\${CMAKE_CURRENT_LIST_DIR}/smeltTargets.cmake)
")
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/smeltConfigVersion.cmake
                                 VERSION ${SMELT_VERSION} COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/smeltConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/smeltConfigVersion.cmake
        DESTINATION ${package})

# Where the file lies says where the rest is, so an installed folder can be moved.
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/smelt.pc
     "prefix=\${pcfiledir}/../..
libdir=\${prefix}/${CMAKE_INSTALL_LIBDIR}
includedir=\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}

Name: smelt
Description: runs model.smelt files
Version: ${SMELT_VERSION}
Libs: -L\${libdir} -lsmelt
Libs.private: -lsmelt_kernels -lstdc++ -lm -pthread
Cflags: -I\${includedir}
")
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/smelt.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
