/*
 * cnirun ADD|DEL: executes a chain of CNI plug-ins as a runtime does, many times, and prints the milliseconds of each
 * run, one a line; the last line on standard error is "rate <runs per second> failed <n>".
 *
 *   -n RUNS -s FIRST -p PARALLEL      containers <prefix>FIRST .. <prefix>FIRST+RUNS-1
 *   -N PREFIX                         network namespaces are /run/netns/<prefix><number>
 *   -f CONF[,CONF...]                 one file per plug-in, named after its type; %d in it becomes the run's number
 *   -d DIR                            where the executables are
 *   -c DIR                            where results are kept between ADD and DEL
 *
 * Configuration on standard input, CNI_* in the environment, the result of one plug-in handed to the next as
 * prevResult; DEL runs the chain backwards with the kept result.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PLUGINS = 8, MAX_TEXT = 65536, MAX_THREADS = 64 };

static int runs = 100, parallel = 1, first = 0, next_run = 0, failures = 0, is_del = 0, plugins = 0;
static char *configs[MAX_PLUGINS], *types[MAX_PLUGINS];
static const char *plugin_dir = "/usr/lib/cni", *prefix = "c", *result_dir = NULL;
static double *elapsed_ms;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static char *read_all(int fd) {
  char *text = malloc(MAX_TEXT);
  int size = 0, got;
  while (size < MAX_TEXT - 1 && (got = read(fd, text + size, MAX_TEXT - 1 - size)) > 0) size += got;
  text[size] = 0;
  return text;
}

static char *read_file(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) { perror(path); exit(1); }
  char *text = read_all(fd);
  close(fd);
  return text;
}

/* The configuration with %d replaced and, where there is one, the previous result put before the last brace. */
static char *make_config(const char *from, const char *previous, int number) {
  char *out = malloc(strlen(from) + (previous ? strlen(previous) : 0) + 512), *end = out;
  while (*from) {
    if (from[0] == '%' && from[1] == 'd') { end += sprintf(end, "%d", number); from += 2; }
    else *end++ = *from++;
  }
  *end = 0;
  char *brace = strrchr(out, '}');
  if (previous && brace) sprintf(brace, ",\"prevResult\":%s}", previous);
  return out;
}

static char *execute(int plugin, int number, const char *config) {
  char env[6][300], binary[512];
  snprintf(env[0], 300, "CNI_COMMAND=%s", is_del ? "DEL" : "ADD");
  snprintf(env[1], 300, "CNI_CONTAINERID=%s%d", prefix, number);
  snprintf(env[2], 300, "CNI_NETNS=/run/netns/%s%d", prefix, number);
  strcpy(env[3], "CNI_IFNAME=eth0");
  snprintf(env[4], 300, "CNI_PATH=%s", plugin_dir);
  strcpy(env[5], "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
  char *environment[7] = { env[0], env[1], env[2], env[3], env[4], env[5], NULL };
  snprintf(binary, sizeof binary, "%s/%s", plugin_dir, types[plugin]);
  char *arguments[] = { binary, NULL };
  int in[2], out[2], status = 0;
  if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) { perror("pipe"); exit(1); }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  pid_t pid;
  if (posix_spawn(&pid, binary, &actions, NULL, arguments, environment)) { perror(binary); exit(1); }
  close(in[0]);
  close(out[1]);
  if (write(in[1], config, strlen(config)) < 0) perror("write");
  close(in[1]);
  char *answer = read_all(out[0]);
  close(out[0]);
  waitpid(pid, &status, 0);
  posix_spawn_file_actions_destroy(&actions);
  if (status && __sync_fetch_and_add(&failures, 1) < 3) fprintf(stderr, "%s run %d: %s\n", binary, number, answer);
  return answer;
}

static void run_chain(int index) {
  int number = first + index;
  char kept[512], *previous = NULL;
  snprintf(kept, sizeof kept, "%s/%s%d", result_dir ? result_dir : ".", prefix, number);
  if (is_del && result_dir) previous = read_file(kept);
  double start = now_ms();
  for (int k = 0; k < plugins; k++) {
    int plugin = is_del ? plugins - 1 - k : k;
    char *answer = execute(plugin, number, make_config(configs[plugin], previous, number));
    if (!is_del) previous = answer;
  }
  elapsed_ms[index] = now_ms() - start;
  if (!is_del && result_dir) {
    FILE *file = fopen(kept, "w");
    if (file) { fputs(previous, file); fclose(file); }
  }
}

static void *work(void *unused) {
  for (;;) {
    pthread_mutex_lock(&lock);
    int index = next_run++;
    pthread_mutex_unlock(&lock);
    if (index >= runs) return unused;
    run_chain(index);
  }
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  is_del = !strcmp(argv[1], "DEL");
  optind = 2;
  for (int option; (option = getopt(argc, argv, "n:p:s:f:d:N:c:")) != -1;) switch (option) {
    case 'n': runs = atoi(optarg); break;
    case 'p': parallel = atoi(optarg); break;
    case 's': first = atoi(optarg); break;
    case 'd': plugin_dir = optarg; break;
    case 'N': prefix = optarg; break;
    case 'c': result_dir = optarg; break;
    case 'f':
      for (char *path = strtok(optarg, ","); path && plugins < MAX_PLUGINS; path = strtok(NULL, ",")) {
        configs[plugins] = read_file(path);
        char *slash = strrchr(path, '/');
        types[plugins++] = slash ? slash + 1 : path;
      }
      break;
    default: return 2;
  }
  if (parallel > MAX_THREADS) parallel = MAX_THREADS;
  elapsed_ms = calloc(runs, sizeof *elapsed_ms);
  pthread_t threads[MAX_THREADS];
  double start = now_ms();
  for (int i = 0; i < parallel; i++) pthread_create(&threads[i], NULL, work, NULL);
  for (int i = 0; i < parallel; i++) pthread_join(threads[i], NULL);
  double seconds = (now_ms() - start) / 1e3;
  for (int i = 0; i < runs; i++) printf("%.3f\n", elapsed_ms[i]);
  fprintf(stderr, "rate %.1f failed %d\n", runs / seconds, failures);
  return failures ? 1 : 0;
}
