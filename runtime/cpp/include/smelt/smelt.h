/* smelt: run model.smelt files. C API, versioned: SMELT_ABI counts incompatible changes.
 *
 * Models are mapped and shared; a session is one running state and is used by one thread at a time.
 * Functions return a smelt_code; after an error smelt_error() has the message (of this thread).
 * Nothing allocates after smelt_session_open, errors excepted. Strings are UTF-8 and terminated.
 * Sketch:
 *   smelt_model* model;
 *   if (smelt_model_open("model.smelt", &model)) die(smelt_error());
 *   smelt_options options = SMELT_OPTIONS;
 *   options.context = 512;
 *   smelt_session* session;
 *   if (smelt_session_open(model, &options, &session)) die(smelt_error());
 *   smelt_generate(session, prompt, prompt_count, 64, on_token, NULL);
 */
#ifndef SMELT_SMELT_H_
#define SMELT_SMELT_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SMELT_ABI 1
#define SMELT_MAX_RANK 6

#if defined(__GNUC__)
#define SMELT_API __attribute__((visibility("default")))
#else
#define SMELT_API
#endif

typedef enum smelt_code {
  SMELT_OK = 0,
  SMELT_INVALID_ARGUMENT = 1,
  SMELT_BAD_FILE = 2,
  SMELT_UNSUPPORTED = 3,
  SMELT_OUT_OF_MEMORY = 4,
  SMELT_IO = 5,
  SMELT_STATE = 6,
  SMELT_OUT_OF_RANGE = 7,
  SMELT_CANCELLED = 8
} smelt_code;

typedef enum smelt_type {
  SMELT_F32 = 0,
  SMELT_F16 = 1,
  SMELT_BF16 = 2,
  SMELT_I64 = 3,
  SMELT_I32 = 4,
  SMELT_I8 = 5,
  SMELT_U8 = 6,
  SMELT_BOOL = 7
} smelt_type;

typedef struct smelt_model smelt_model;
typedef struct smelt_session smelt_session;
typedef struct smelt_tokenizer smelt_tokenizer;
typedef struct smelt_template smelt_template;

/* A tensor in row-major order. As an input, data is aligned to its element and read during the
 * call. */
typedef struct smelt_tensor {
  const void* data;
  smelt_type type;
  int32_t rank;
  int64_t dims[SMELT_MAX_RANK];
} smelt_tensor;

/* The largest value that a symbolic size may take in a session. */
typedef struct smelt_limit {
  const char* symbol;
  int64_t most;
} smelt_limit;

typedef struct smelt_options {
  uint32_t struct_bytes; /* sizeof(smelt_options) */
  int32_t threads;       /* 1 when 0 */
  int64_t context;       /* tokens of state; 0: the file's own */
  const smelt_limit* limits;
  size_t limit_count;
  void* memory; /* 64-byte aligned, smelt_memory_need bytes; NULL: allocated */
  size_t memory_bytes;
  int64_t max_memory; /* open refuses to need more, mapped weights included; 0: no limit */
} smelt_options;
#define SMELT_OPTIONS {sizeof(smelt_options), 0, 0, NULL, 0, NULL, 0, 0}

typedef struct smelt_memory {
  int64_t weights; /* mapped from the file */
  int64_t state, activations, scratch;
} smelt_memory;

SMELT_API uint32_t smelt_abi(void);
SMELT_API const char* smelt_error(void);

/* ---- models ---- */
SMELT_API smelt_code smelt_model_open(const char* path, smelt_model** out);
/* The bytes are 64-byte aligned and outlive the model. */
SMELT_API smelt_code smelt_model_borrow(const void* bytes, size_t size, smelt_model** out);
SMELT_API void smelt_model_close(smelt_model* model); /* sessions keep what they need */
SMELT_API smelt_code
smelt_model_verify(const smelt_model* model); /* reads all, compares checksums */
SMELT_API smelt_code smelt_model_file(const smelt_model* model, const char* name, const void** data,
                                      size_t* bytes);
SMELT_API int64_t smelt_model_setting(const smelt_model* model, const char* key, int64_t missing);

/* Functions, inputs, outputs and state slots are numbered from 0; a name is NULL behind the last.
 */
SMELT_API uint32_t smelt_function_count(const smelt_model* model);
SMELT_API const char* smelt_function_name(const smelt_model* model, uint32_t function);
SMELT_API const char* smelt_input_name(const smelt_model* model, uint32_t function, uint32_t input);
SMELT_API smelt_type smelt_input_type(const smelt_model* model, uint32_t function, uint32_t input);
SMELT_API const char* smelt_output_name(const smelt_model* model, uint32_t function,
                                        uint32_t output);
SMELT_API const char* smelt_state_name(const smelt_model* model, uint32_t slot);

/* ---- sessions ---- */
SMELT_API smelt_code smelt_memory_need(const smelt_model* model, const smelt_options* options,
                                       smelt_memory* out);
SMELT_API smelt_code smelt_session_open(const smelt_model* model, const smelt_options* options,
                                        smelt_session** out);
SMELT_API void smelt_session_close(smelt_session* session);
SMELT_API void smelt_session_memory(const smelt_session* session, smelt_memory* out);
/* The largest value of a symbol such as "seq" or "batch"; -1 when there is none of that name. */
SMELT_API int64_t smelt_session_most(const smelt_session* session, const char* symbol);

SMELT_API smelt_code smelt_run(smelt_session* session, uint32_t function,
                               const smelt_tensor* inputs, size_t count);
/* Valid until the next run. */
SMELT_API smelt_code smelt_output(const smelt_session* session, uint32_t function, uint32_t output,
                                  smelt_tensor* out);

/* Rows of logits at the end of a call, for files that can leave the others out: at most the
 * session's limit of the symbol "last", which is 1 unless smelt_options.limits says more. */
SMELT_API void smelt_ask(smelt_session* session, int64_t rows);

SMELT_API void smelt_reset(smelt_session* session);
SMELT_API int64_t smelt_past(const smelt_session* session);
SMELT_API smelt_code smelt_rewind(smelt_session* session, int64_t past);
/* Row i of the state becomes row rows[i]. */
SMELT_API smelt_code smelt_reorder(smelt_session* session, const int64_t* rows, size_t count);
/* The type and dims of what smelt_state_read copies: f32 for growing slots, oldest entry first. */
SMELT_API smelt_code smelt_state_shape(const smelt_session* session, uint32_t slot,
                                       smelt_tensor* out);
SMELT_API smelt_code smelt_state_read(const smelt_session* session, uint32_t slot, void* out,
                                      size_t bytes);

/* Called with each new token; 0 continues, anything else stops. */
typedef int (*smelt_on_token)(void* context, int64_t token);
/* Greedy: feeds the tokens behind those already held, then the likeliest next one, until the file's
 * "eos_token_id" (any of them), `most` tokens, or the callback stops it. Needs a causal_lm file. */
SMELT_API smelt_code smelt_generate(smelt_session* session, const int64_t* tokens, size_t count,
                                    size_t most, smelt_on_token on_token, void* context);

/* ---- text ---- */
/* The tokenizer inside a model file; SMELT_UNSUPPORTED when it holds none. Any number of threads
 * may share it; the model stays open as long as it does. */
SMELT_API smelt_code smelt_tokenizer_open(const smelt_model* model, smelt_tokenizer** out);
SMELT_API void smelt_tokenizer_close(smelt_tokenizer* tokenizer);

/* Where a token stands in the text: [begin, end) in bytes. */
typedef struct smelt_span {
  uint32_t begin, end;
} smelt_span;

/* The ids of a text, and their places when offsets is not NULL. At most `capacity` are written;
 * *count is how many there are. `frame` adds the tokens that a model expects around a text (not for
 * the text of a chat template, which has them). What is not UTF-8 is read as U+FFFD. `scratch` is
 * memory of smelt_tokenize_scratch bytes; SMELT_OUT_OF_MEMORY asks for more. NULL: allocated for
 * the call. */
SMELT_API size_t smelt_tokenize_scratch(size_t text_bytes);
SMELT_API smelt_code smelt_tokenize(const smelt_tokenizer* tokenizer, const char* text,
                                    size_t text_bytes, int frame, void* scratch,
                                    size_t scratch_bytes, int64_t* ids, smelt_span* offsets,
                                    size_t capacity, size_t* count);
/* The text of ids, not terminated. At most `capacity` bytes are written; *bytes is how many there
 * are. Special tokens are left out unless `with_special`. */
SMELT_API smelt_code smelt_detokenize(const smelt_tokenizer* tokenizer, const int64_t* ids,
                                      size_t count, int with_special, char* out, size_t capacity,
                                      size_t* bytes);

/* Token by token: what cannot be shown yet, such as half a character, waits for the next. Starts as
 * zeros (SMELT_TEXT_STREAM). `out` has room for smelt_stream_bytes. */
typedef struct smelt_text_stream {
  uint64_t state[2];
} smelt_text_stream;
#define SMELT_TEXT_STREAM {{0, 0}}
SMELT_API size_t smelt_stream_bytes(const smelt_tokenizer* tokenizer);
SMELT_API size_t smelt_stream_push(const smelt_tokenizer* tokenizer, smelt_text_stream* stream,
                                   int64_t id, char* out);
SMELT_API size_t smelt_stream_finish(const smelt_tokenizer* tokenizer, smelt_text_stream* stream,
                                     char* out); /* what is left, as U+FFFD */

/* ---- chats ---- */
/* A chat template inside a model file; NULL is the one named "default". SMELT_UNSUPPORTED when the
 * file holds none of that name. Any number of threads may share it. */
SMELT_API smelt_code smelt_template_open(const smelt_model* model, const char* name,
                                         smelt_template** out);
SMELT_API void smelt_template_close(smelt_template* chat);

/* The text of a conversation, not terminated: at most `capacity` bytes are written, *bytes is how
 * many there are. `json` is an object of what the template sees: "messages", and perhaps "tools",
 * "add_generation_prompt" (true when it is left out) and whatever else the template reads.
 * `scratch` is memory of smelt_template_scratch bytes; SMELT_OUT_OF_MEMORY asks for more. NULL:
 * allocated for the call. A template that refuses the conversation gives SMELT_INVALID_ARGUMENT,
 * one that runs away SMELT_UNSUPPORTED; smelt_error() has the template's line. */
SMELT_API size_t smelt_template_scratch(size_t json_bytes);
SMELT_API smelt_code smelt_apply_template(const smelt_template* chat, const char* json,
                                          size_t json_bytes, void* scratch, size_t scratch_bytes,
                                          char* out, size_t capacity, size_t* bytes);

/* Called after each instruction with its place in the model and its seconds. */
typedef void (*smelt_profile)(void* context, const char* op, const char* source, double seconds);
SMELT_API void smelt_set_profile(smelt_session* session, smelt_profile profile, void* context);

#ifdef __cplusplus
}
#endif
#endif /* SMELT_SMELT_H_ */
