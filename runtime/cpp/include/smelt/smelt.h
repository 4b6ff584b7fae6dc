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
 *   smelt_generation how = SMELT_GENERATION;
 *   how.max_new_tokens = 64;
 *   if (smelt_generate(session, prompt, prompt_count, &how, on_token, NULL)) die(smelt_error());
 */
#ifndef SMELT_SMELT_H_
#define SMELT_SMELT_H_

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SMELT_ABI 2
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
  SMELT_CANCELLED = 8,
  SMELT_BUSY = 9 /* a queue is full: try again later */
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

/* ---- generation ---- */
/* docs/generation.md says what each option does; the same seed gives the same tokens as in Python.
 * A list whose `ids` is NULL is unset, one whose `count` is 0 is empty. */
typedef struct smelt_ids {
  const int64_t* ids;
  size_t count;
} smelt_ids;

typedef struct smelt_bias {
  smelt_ids tokens;
  double bias;
} smelt_bias;

#define SMELT_RANDOM UINT64_MAX /* another seed each time; smelt_last_metrics says which */

/* How tokens are chosen. What is unset (NaN, -1, NULL) is what the model's file says, and where it
 * says nothing what is in parentheses. Sampling is on when `temperature` is above 0, when another
 * option marked S is set, or when the file asks for it. */
typedef struct smelt_generation {
  size_t struct_bytes;              /* sizeof(smelt_generation) */
  const smelt_tokenizer* tokenizer; /* for stop strings and smelt_token.text; NULL: ids alone */
  int64_t max_new_tokens;           /* (256) */
  int64_t min_new_tokens;           /* (0) */
  int64_t min_length;               /* of prompt and new tokens (0) */
  double max_time;                  /* seconds (no limit) */
  smelt_ids eos;                    /* tokens that end a row (none) */
  const char* const* stop;          /* strings before which a row ends (none) */
  size_t stop_count;
  uint64_t seed;
  int64_t row;      /* of the random numbers (0) */
  int64_t logprobs; /* log-probabilities of each token and so many of the likeliest (off) */
  double temperature;
  double top_h;          /* S (off) */
  int64_t top_k;         /* S; 0: all (0) */
  double top_p;          /* S (1) */
  double min_p;          /* S (0) */
  double typical_p;      /* S (1) */
  double epsilon_cutoff; /* S (0) */
  double eta_cutoff;     /* S (0) */
  const smelt_bias* sequence_bias;
  size_t sequence_bias_count;
  double encoder_repetition_penalty; /* (1) */
  double repetition_penalty;         /* (1) */
  double frequency_penalty;          /* (0) */
  double presence_penalty;           /* (0) */
  int64_t no_repeat_ngram_size;      /* (0) */
  int64_t encoder_no_repeat_ngram_size;
  const smelt_ids* bad_words;
  size_t bad_words_count;
  int64_t forced_bos;   /* the first token, behind a prompt of one */
  smelt_ids forced_eos; /* the last token, where there is no more room */
  int64_t decay_start;  /* exponential_decay_length_penalty: new tokens before it, */
  double decay_factor;  /* and the factor of each one more */
  smelt_ids suppress;
  smelt_ids begin_suppress;
  double watermark_bias; /* of green tokens; set to have a watermark */
  double watermark_ratio;
  int64_t watermark_key;
  int64_t watermark_width;
  int64_t watermark_self;     /* 1: "selfhash", 0: "lefthash" (0) */
  const char* const* without; /* keys of generation_config.json to leave out */
  size_t without_count;
  int64_t reuse; /* 1: keep the state of the longest beginning that the session holds already, as in
                    a conversation; 0: start again (0) */
} smelt_generation;

/* clang-format off */
#define SMELT_GENERATION                                                                      \
  {sizeof(smelt_generation), NULL, -1, -1, -1, NAN, {NULL, 0}, NULL, 0, SMELT_RANDOM, -1, -1, \
   NAN, NAN, -1, NAN, NAN, NAN, NAN, NAN, NULL, 0, NAN, NAN, NAN, NAN, -1, -1, NULL, 0,       \
   -1, {NULL, 0}, -1, NAN, {NULL, 0}, {NULL, 0}, NAN, NAN, -1, -1, -1, NULL, 0, -1}
/* clang-format on */

typedef enum smelt_finish {
  SMELT_UNFINISHED = 0,
  SMELT_EOS = 1,
  SMELT_STOP = 2,
  SMELT_LENGTH = 3,
  SMELT_CONTEXT = 4,
  SMELT_TIME = 5,
  SMELT_STOPPED = 6 /* by the callback, or by smelt_cancel */
} smelt_finish;

typedef struct smelt_score {
  int64_t token;
  double logprob; /* natural, by the logits as the model gave them */
} smelt_score;

/* A new token; what it points to is valid during the call. */
typedef struct smelt_token {
  int64_t id;
  smelt_finish finish; /* why this one is the last */
  const char* text;    /* what can be shown now: whole characters, nothing of a stop string */
  size_t text_bytes;
  double logprob; /* NaN unless asked for */
  const smelt_score* top;
  size_t top_count;
} smelt_token;

/* Called with each new token; 0 continues, anything else stops. */
typedef int (*smelt_on_token)(void* context, const smelt_token* token);

/* Feeds a prompt and chooses tokens, the end token included, until one is the last. `how` NULL is
 * what the model's file says. What the session held is forgotten, see `reuse`. Needs a causal_lm
 * file. Nothing allocates but lists that are longer than those of any call before. */
SMELT_API smelt_code smelt_generate(smelt_session* session, const int64_t* tokens, size_t count,
                                    const smelt_generation* how, smelt_on_token on_token,
                                    void* context);
/* From any thread: the generation that runs in this session ends with SMELT_CANCELLED behind the
 * token, or the piece of the prompt, that is being computed. Where none runs, nothing happens. */
SMELT_API void smelt_cancel(smelt_session* session);

/* Of the last smelt_generate. */
typedef struct smelt_metrics {
  size_t struct_bytes; /* sizeof(smelt_metrics) */
  int64_t prompt_tokens;
  int64_t cached_tokens; /* of the prompt, whose state was there already */
  int64_t new_tokens;
  double prefill_seconds, first_token_seconds; /* from the call on */
  double decode_seconds, sampling_seconds, total_seconds;
  uint64_t seed;
  smelt_finish finish;
} smelt_metrics;
SMELT_API smelt_code smelt_last_metrics(const smelt_session* session, smelt_metrics* out);

/* ---- batches ---- */
/* Many requests over one model: they share the calls of a session that has `rows` rows of state,
 * come and go at any time and get what each would get alone (docs/batching.md). A thread of the
 * batch's own computes. All functions but open and close may be called by any thread. */
typedef struct smelt_batch smelt_batch;

typedef struct smelt_batch_options {
  uint32_t struct_bytes; /* sizeof(smelt_batch_options) */
  int32_t threads;
  int64_t context;    /* tokens of each row; 0: the file's own */
  int64_t rows;       /* requests that run together */
  int64_t waiting;    /* requests that may wait for a row */
  int64_t chunk;      /* tokens of prompts that go in between two tokens of the other rows */
  int64_t max_memory; /* open refuses to need more, mapped weights included; 0: no limit */
} smelt_batch_options;
#define SMELT_BATCH_OPTIONS {sizeof(smelt_batch_options), 1, 0, 16, 256, 64, 0}

/* A new token of a request, or its end without one: token.id is -1, and `error` says why unless it
 * was cancelled. The last event of a request has token.finish set. */
typedef struct smelt_batch_event {
  int64_t request;
  smelt_token token;
  smelt_code error;
  const char* message; /* of an error */
} smelt_batch_event;

/* Called by the batch's thread with all that a step brought; what they point to is valid during the
 * call. It may submit and cancel. */
typedef void (*smelt_on_events)(void* context, const smelt_batch_event* events, size_t count);

typedef struct smelt_batch_stats {
  int64_t rows, running, waiting;       /* now */
  int64_t finished, cancelled, failed;  /* requests, since open */
  int64_t tokens;                       /* new ones */
  int64_t prompt_tokens, reused_tokens; /* reused: taken over from rows, not computed */
  int64_t steps, step_rows;             /* calls of one token a row, and their rows */
} smelt_batch_stats;

SMELT_API smelt_code smelt_batch_open(const smelt_model* model, const smelt_batch_options* options,
                                      smelt_on_events on_events, void* context, smelt_batch** out);
/* Request numbers rise from 1. SMELT_BUSY when as many wait as may. A tokenizer in `how` stays open
 * until the request has ended. */
SMELT_API smelt_code smelt_batch_submit(smelt_batch* batch, const int64_t* tokens, size_t count,
                                        const smelt_generation* how, int64_t* request);
/* The request ends by an event with SMELT_STOPPED, unless it has ended already. */
SMELT_API void smelt_batch_cancel(smelt_batch* batch, int64_t request);
SMELT_API void smelt_batch_read_stats(const smelt_batch* batch, smelt_batch_stats* out);
SMELT_API void smelt_batch_memory(const smelt_batch* batch, smelt_memory* out);
/* `drain`: requests go on to their ends; else they are cancelled. Waits for the last event, then
 * frees; SMELT_STATE, and nothing done, from within smelt_on_events. */
SMELT_API smelt_code smelt_batch_close(smelt_batch* batch, int drain);

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

/* ---- state in files ---- */
/* What a session holds, to go on from later, in any session of the same model in which it fits. The
 * file is written under another name and renamed. Load refuses files that are damaged
 * (SMELT_BAD_FILE), of another model or too long (SMELT_INVALID_ARGUMENT), and changes nothing
 * then. With smelt_generation.reuse, a prompt that begins with the saved tokens goes on from them.
 */
SMELT_API smelt_code smelt_session_save(const smelt_session* session, const char* path);
SMELT_API smelt_code smelt_session_load(smelt_session* session, const char* path);

/* ---- profiles ---- */
/* Called after each instruction with its place in the model and its seconds. */
typedef void (*smelt_profile)(void* context, const char* op, const char* source, double seconds);
SMELT_API void smelt_set_profile(smelt_session* session, smelt_profile profile, void* context);

#ifdef __cplusplus
}
#endif
#endif /* SMELT_SMELT_H_ */
