/*
 * lookups COUNT THREADS NAME...: COUNT lookups of A and AAAA at once by the C library's resolver, as any program in a
 * container does them: a socket of its own for each, the name servers of resolv.conf. Prints how many failed, and the
 * median, the 99.9th percentile and the slowest in milliseconds.
 */
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static atomic_int next, failed;
static int count, names;
static char **name;
static double *taken;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void *look_up(void *unused) {
  for (int i; (i = atomic_fetch_add(&next, 1)) < count;) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    double begun = now();
    int error = getaddrinfo(name[i % names], "80", &hints, &found);
    taken[i] = now() - begun;
    if (error == 0)
      freeaddrinfo(found);
    else
      atomic_fetch_add(&failed, 1);
  }
  return unused;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  count = atoi(argv[1]);
  names = argc - 3;
  name = argv + 3;
  taken = calloc(count, sizeof *taken);
  pthread_t threads[64];
  int wanted = atoi(argv[2]);
  for (int i = 0; i < wanted && i < 64; i++)
    pthread_create(&threads[i], NULL, look_up, NULL);
  for (int i = 0; i < wanted && i < 64; i++)
    pthread_join(threads[i], NULL);
  qsort(taken, count, sizeof *taken, by_size);
  printf("{\"failed\":%d,\"p50\":%.3f,\"p999\":%.3f,\"slowest\":%.3f}\n", failed, taken[count / 2],
         taken[(int)(count * 0.999)], taken[count - 1]);
}
