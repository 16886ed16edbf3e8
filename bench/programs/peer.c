/*
 * Round trips, and messages one way, with read and write. The word: `trips`, `each` for one write
 * per message, or `coalesced` for one per 256 KiB.
 */

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE (256 * 1024)

static const char *work;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static size_t size, passes[2], items, bytes;
static char *buffer, *message;

static void must(int ok, const char *what) {
  if (ok) return;
  perror(what);
  exit(1);
}

static void write_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    ssize_t sent = write(fd, data, length);
    must(sent >= 0, "write");
    data += sent;
    length -= (size_t)sent;
  }
}

static size_t read_some(int fd, char *into, size_t length) {
  ssize_t count = read(fd, into, length);
  must(count >= 0, "read");
  return (size_t)count;
}

static void echo(int fd) {
  for (size_t count; (count = read_some(fd, buffer, BUFFER_SIZE)) > 0;) {
    write_all(fd, buffer, count);
    bytes += count;
  }
  items = bytes / size;
}

static void trip(int fd, size_t count) {
  for (size_t i = 0; i < count; i++) {
    write_all(fd, message, size);
    size_t got = 0;
    while (got < size) {
      size_t more = read_some(fd, buffer, BUFFER_SIZE);
      must(more > 0, "the end of file");
      got += more;
    }
    items++;
    bytes += got;
  }
}

static void receive(int fd) {
  size_t end = 0;
  for (size_t count; (count = read_some(fd, buffer + end, BUFFER_SIZE + 4 + size - end)) > 0;) {
    size_t start = 0;
    end += count;
    while (end - start >= 4) {
      uint32_t length;
      memcpy(&length, buffer + start, 4);
      length = ntohl(length);
      if (end - start - 4 < length) break;
      items++;
      bytes += length;
      start += 4 + length;
    }
    if (start > 0) memmove(buffer, buffer + start, end - start);
    end -= start;
  }
}

static void send_messages(int fd, size_t count) {
  size_t end = 0, mark = strcmp(work, "coalesced") == 0 ? BUFFER_SIZE : 0;
  uint32_t length = htonl((uint32_t)size);
  for (size_t i = 0; i < count; i++) {
    memcpy(buffer + end, &length, 4);
    memcpy(buffer + end + 4, message, size);
    end += 4 + size;
    if (end < mark) continue;
    write_all(fd, buffer, end);
    end = 0;
  }
  write_all(fd, buffer, end);
  must(shutdown(fd, SHUT_WR) == 0, "shutdown");
  read_some(fd, buffer, 1);
  items += count;
  bytes += count * size;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 7) exit(2);
  work = argv[2];
  strncpy(address.sun_path, argv[3], sizeof address.sun_path - 1);
  size = strtoull(argv[4], NULL, 10);
  passes[0] = strtoull(argv[5], NULL, 10);
  passes[1] = strtoull(argv[6], NULL, 10);
  buffer = malloc(BUFFER_SIZE + 4 + size);
  message = calloc(1, size);
  must(buffer != NULL && message != NULL, "malloc");
  int server = strcmp(argv[1], "server") == 0, trips = strcmp(work, "trips") == 0;
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (server) {
    must(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    must(listen(listener, 128) == 0, "listen");
    printf("ready\n");
    fflush(stdout);
  }
  double start = 0;
  for (int pass = 0; pass < 2; pass++) {
    start = now();
    int fd = server ? accept(listener, NULL, NULL) : socket(AF_UNIX, SOCK_STREAM, 0);
    must(fd >= 0, "socket");
    if (server) {
      (trips ? echo : receive)(fd);
    } else {
      must(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
      (trips ? trip : send_messages)(fd, passes[pass]);
    }
    close(fd);
  }
  printf("{\"items\":%zu,\"bytes\":%zu", items, bytes);
  if (!server) printf(",\"seconds\":%.9f", now() - start);
  printf("}\n");
}
