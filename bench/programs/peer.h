/* Shared code of the programs in C: arguments, socket, clock, report. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *variant;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static size_t size;
static size_t passes[2];
static size_t items_counted, bytes_counted;

static void must(int ok, const char *what) {
  if (ok) return;
  perror(what);
  exit(1);
}

/* Reads the arguments. Returns whether this is the server. */
static int begin(int argc, char **argv) {
  if (argc != 7) exit(2);
  variant = argv[2];
  strncpy(address.sun_path, argv[3], sizeof address.sun_path - 1);
  size = strtoull(argv[4], NULL, 10);
  passes[0] = strtoull(argv[5], NULL, 10);
  passes[1] = strtoull(argv[6], NULL, 10);
  return strcmp(argv[1], "server") == 0;
}

static int open_listener(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  must(fd >= 0, "socket");
  must(bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "bind");
  must(listen(fd, 128) == 0, "listen");
  printf("ready\n");
  fflush(stdout);
  return fd;
}

static int accept_one(int listener) {
  int fd = accept(listener, NULL, NULL);
  must(fd >= 0, "accept");
  return fd;
}

static int open_connection(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  must(fd >= 0, "socket");
  must(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
  return fd;
}

static void write_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    ssize_t sent = write(fd, data, length);
    must(sent >= 0, "write");
    data += sent;
    length -= (size_t)sent;
  }
}

static size_t read_some(int fd, char *buffer, size_t length) {
  ssize_t count = read(fd, buffer, length);
  must(count >= 0, "read");
  return (size_t)count;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int report(double seconds) {
  printf("{\"items\":%zu,\"bytes\":%zu", items_counted, bytes_counted);
  if (seconds > 0) printf(",\"seconds\":%.9f", seconds);
  printf("}\n");
  return 0;
}
