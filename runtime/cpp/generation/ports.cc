#include "generation/ports.h"

#include <cstring>

#include "generation/sampler.h"

namespace smelt::generation {

Result<Ports> Ports::Find(const Model& model) {
  Ports found;
  found.function = model.FindFunction("main");
  if (found.function == kNone) return Error(Code::kUnsupported, "the model has no function `main`");
  const FunctionRecord& f = model.functions[found.function];
  found.inputs = f.inputs;
  bool known = f.inputs <= 3;
  for (uint32_t i = 0; i < f.inputs; ++i) {
    const PortRecord& port = model.ports[f.first_input + i];
    const TensorRecord& t = model.tensors[port.tensor];
    const char* name = model.Text(port.name);
    known = known && t.elem == static_cast<uint8_t>(Elem::kI64) && t.rank == 2;
    if (std::strcmp(name, "input_ids") == 0)
      found.ids = i;
    else if (std::strcmp(name, "attention_mask") == 0)
      found.mask = i;
    else if (std::strcmp(name, "position_ids") == 0)
      found.positions = i;
    else
      known = false;
  }
  for (uint32_t i = 0; i < f.outputs; ++i) {
    const PortRecord& port = model.ports[f.first_output + i];
    const TensorRecord& t = model.tensors[port.tensor];
    if (std::strcmp(model.Text(port.name), "logits") == 0 && t.rank == 3 &&
        t.elem == static_cast<uint8_t>(Elem::kF32)) {
      found.logits = i;
    }
  }
  if (!known || found.ids == kNone || found.logits == kNone)
    return Error(Code::kUnsupported, "the model is not a causal language model");
  return found;
}

Status Ports::LastLogits(const Session& session, int64_t rows, float** first,
                         int64_t* stride) const {
  const View& view = session.Output(function, logits);
  const int64_t width = view.last();
  if (!view.contiguous || view.rank != 3 || view.dims[0] != rows || view.dims[1] < 1 ||
      width != VocabularyOf(session.model())) {
    return Error(Code::kUnsupported, "the logits are not rows of numbers");
  }
  *stride = view.dims[1] * width;
  *first = view.f32() + *stride - width;
  return Status();
}

}  // namespace smelt::generation
