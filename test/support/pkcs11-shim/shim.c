/*
 * A PKCS#11 module that passes every call to a real one and lets chosen calls fail, be slow, or end the process.
 * It is loaded in place of the real module, so it sees the calls of OpenSSL's engine as well as leafkeeper's own.
 *
 *   LEAFKEEPER_SHIM_MODULE  path of the real module
 *   LEAFKEEPER_SHIM_RULES   path of the rules; read anew at every call, no faults where there is no such file
 *
 * Rules are lines of `FUNCTION CALLS ACTION [VALUE]`, looked at from the first to the last:
 *
 *   FUNCTION  a name of the standard, or * for all
 *   CALLS     `all`, `3` for the third call that this rule has seen, or `3+` for the third and all later ones;
 *             counted anew whenever the file changes
 *   ACTION    trace PATH   append the function's name to a file, and go on with the next rule
 *             delay MS     wait before the call, and go on with the next rule
 *             fail CKR     answer with this return value; the real module is not called, so that an operation which the
 *                          call would have ended stays active
 *             lose CKR     call the real module, and answer with this return value all the same
 *             empty        of C_GetSlotList: there is no slot
 *             remove       of all functions: every token is pulled out. The sessions of this process end, there is no
 *                          slot, and a call that needs one answers CKR_DEVICE_REMOVED; without the rule the tokens are
 *                          back, and the sessions are not
 *             kill-before  SIGKILL this process before the call
 *             kill-after   SIGKILL this process after the call
 *             crash        SIGSEGV before the call, as a broken module does
 *
 * C_GetFunctionList takes rules too: it is called while the module is loaded.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pkcs11/pkcs11.h>

#include "functions.h"

#define RULES_SIZE 4096
#define RULES_COUNT 32

struct verdict {
  unsigned long delay_ms;
  int refuse; /* the real module is not called */
  int replace; /* the return value is `rv`, whatever the real module says */
  int empty;
  int kill_after;
  CK_RV rv;
};

static CK_FUNCTION_LIST_PTR real;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The rules as they were at the last call, and how often each has matched since they changed. */
static char known_rules[RULES_SIZE];
static unsigned long matches[RULES_COUNT];

static void give_up(const char *why, const char *what) {
  fprintf(stderr, "pkcs11-shim: %s: %s\n", why, what);
  abort();
}

static void end_process(int signal_number) {
  kill(getpid(), signal_number);
  for (;;) pause();
}

static void read_rules(char *text) {
  const char *path = getenv("LEAFKEEPER_SHIM_RULES");
  size_t length = 0;
  text[0] = '\0';
  if (path == NULL) return;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 && errno == ENOENT) return;
  if (file < 0) give_up("the rules cannot be opened", path);
  for (;;) {
    ssize_t got = read(file, text + length, RULES_SIZE - length);
    if (got < 0) give_up("the rules cannot be read", path);
    if (got == 0) break;
    length += (size_t)got;
    if (length == RULES_SIZE) give_up("the rules are too long", path);
  }
  close(file);
  text[length] = '\0';
}

static void append_line(const char *path, const char *text) {
  char line[64];
  int length = snprintf(line, sizeof line, "%s\n", text);
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0 || write(file, line, (size_t)length) != length) give_up("the trace cannot be written", path);
  close(file);
}

static int is_meant(const char *calls, unsigned long nth) {
  char *rest;
  if (strcmp(calls, "all") == 0) return 1;
  unsigned long wanted = strtoul(calls, &rest, 10);
  return *rest == '+' ? nth >= wanted : nth == wanted;
}

/* What does not need a token. */
static int needs_token(const char *function) {
  return strcmp(function, "C_GetFunctionList") != 0 && strcmp(function, "C_Initialize") != 0 &&
    strcmp(function, "C_Finalize") != 0 && strcmp(function, "C_GetInfo") != 0;
}

static void end_sessions(void) {
  CK_SLOT_ID slots[64];
  CK_ULONG count = sizeof slots / sizeof *slots;
  if (real->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK) return;
  for (CK_ULONG index = 0; index < count; index += 1) real->C_CloseAllSessions(slots[index]);
}

/* Takes one rule into account; says whether the next ones still count. */
static int apply(struct verdict *verdict, const char *function, const char *action, const char *value) {
  if (strcmp(action, "trace") == 0) return append_line(value, function), 1;
  if (strcmp(action, "delay") == 0) return verdict->delay_ms += strtoul(value, NULL, 0), 1;
  if (strcmp(action, "remove") == 0) {
    if (!needs_token(function)) return 1;
    end_sessions();
    verdict->empty = strcmp(function, "C_GetSlotList") == 0;
    verdict->refuse = !verdict->empty;
    return verdict->rv = CKR_DEVICE_REMOVED, 0;
  }
  if (strcmp(action, "fail") == 0) verdict->refuse = 1;
  else if (strcmp(action, "lose") == 0) verdict->replace = 1;
  else if (strcmp(action, "empty") == 0) verdict->empty = 1;
  else if (strcmp(action, "kill-after") == 0) verdict->kill_after = 1;
  else if (strcmp(action, "kill-before") == 0) end_process(SIGKILL);
  else if (strcmp(action, "crash") == 0) end_process(SIGSEGV);
  else give_up("there is no such action", action);
  verdict->rv = strtoul(value, NULL, 0);
  return 0;
}

static struct verdict judge(const char *function) {
  struct verdict verdict = {0, 0, 0, 0, 0, CKR_OK};
  char text[RULES_SIZE];
  pthread_mutex_lock(&lock);
  read_rules(text);
  if (strcmp(text, known_rules) != 0) {
    strcpy(known_rules, text);
    memset(matches, 0, sizeof matches);
  }
  char *rest = NULL;
  int number = 0;
  for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest), number += 1) {
    char wanted[32], calls[16], action[16], value[256] = "";
    if (number == RULES_COUNT) give_up("there are too many rules", line);
    if (sscanf(line, "%31s %15s %15s %255s", wanted, calls, action, value) < 3) give_up("this is no rule", line);
    if (strcmp(wanted, "*") != 0 && strcmp(wanted, function) != 0) continue;
    matches[number] += 1;
    if (is_meant(calls, matches[number]) && !apply(&verdict, function, action, value)) break;
  }
  pthread_mutex_unlock(&lock);
  if (verdict.delay_ms > 0) {
    struct timespec pause_for = {(time_t)(verdict.delay_ms / 1000), (long)(verdict.delay_ms % 1000) * 1000000};
    while (nanosleep(&pause_for, &pause_for) != 0 && errno == EINTR) continue;
  }
  return verdict;
}

static CK_RV answer(const struct verdict *verdict, CK_RV rv) {
  if (verdict->kill_after) end_process(SIGKILL);
  return verdict->replace ? verdict->rv : rv;
}

#define FORWARD(name, parameters, arguments) \
  static CK_RV shim_##name parameters { \
    struct verdict verdict = judge(#name); \
    return verdict.refuse ? verdict.rv : answer(&verdict, real->name arguments); \
  }

EACH_FUNCTION(FORWARD)

static CK_RV shim_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR slots, CK_ULONG_PTR count) {
  struct verdict verdict = judge("C_GetSlotList");
  if (verdict.refuse) return verdict.rv;
  if (!verdict.empty) return answer(&verdict, real->C_GetSlotList(present, slots, count));
  *count = 0;
  return CKR_OK;
}

static CK_FUNCTION_LIST functions;

static void load_real(void) {
  const char *path = getenv("LEAFKEEPER_SHIM_MODULE");
  if (path == NULL) give_up("LEAFKEEPER_SHIM_MODULE is not set", "expected the path of the real module");
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) give_up("the real module cannot be loaded", dlerror());
  CK_C_GetFunctionList get_function_list;
  /* ISO C has no conversion from an object pointer to a function pointer; POSIX dlsym(3) asks for this one. */
  *(void **)&get_function_list = dlsym(library, "C_GetFunctionList");
  if (get_function_list == NULL || get_function_list(&real) != CKR_OK) give_up("this is no PKCS#11 module", path);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, load_real);
  struct verdict verdict = judge("C_GetFunctionList");
  if (verdict.refuse) return verdict.rv;
#define ENTER(name, parameters, arguments) functions.name = shim_##name;
  EACH_FUNCTION(ENTER)
  functions.C_GetSlotList = shim_C_GetSlotList;
  functions.C_GetFunctionList = C_GetFunctionList;
  functions.version = real->version;
  *list = &functions;
  return answer(&verdict, CKR_OK);
}
