/* Messages one way. The variant: `each` is one write per message, `coalesced` one per 256 KiB. */

#include <arpa/inet.h>
#include <stdint.h>

#include "../peer.h"

#define BUFFER_SIZE (256 * 1024)

/* Parses the messages in a buffer. Moves the rest to its beginning, and returns its length. */
static size_t parse(char *buffer, size_t end) {
  size_t start = 0;
  while (end - start >= 4) {
    uint32_t length;
    memcpy(&length, buffer + start, 4);
    length = ntohl(length);
    if (end - start - 4 < length) break;
    items_counted++;
    bytes_counted += length;
    start += 4 + length;
  }
  if (start > 0) memmove(buffer, buffer + start, end - start);
  return end - start;
}

static void receive(int fd, char *buffer, size_t capacity) {
  size_t end = 0;
  for (;;) {
    size_t count = read_some(fd, buffer + end, capacity - end);
    if (count == 0) return;
    end = parse(buffer, end + count);
  }
}

static void send_all(int fd, char *buffer, const char *message, size_t count, size_t mark) {
  size_t end = 0;
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
}

int main(int argc, char **argv) {
  int server = begin(argc, argv);
  size_t capacity = BUFFER_SIZE + 4 + size;
  char *buffer = malloc(capacity), *message = calloc(1, size);
  must(buffer != NULL && message != NULL, "malloc");
  if (server) {
    int listener = open_listener();
    for (int pass = 0; pass < 2; pass++) {
      int fd = accept_one(listener);
      receive(fd, buffer, capacity);
      close(fd);
    }
    return report(0);
  }
  size_t mark = strcmp(variant, "coalesced") == 0 ? BUFFER_SIZE : 0;
  double seconds = 0;
  for (int pass = 0; pass < 2; pass++) {
    double start = now();
    int fd = open_connection();
    send_all(fd, buffer, message, passes[pass], mark);
    must(shutdown(fd, SHUT_WR) == 0, "shutdown");
    read_some(fd, buffer, 1);
    close(fd);
    seconds = now() - start;
    items_counted += passes[pass];
    bytes_counted += passes[pass] * size;
  }
  return report(seconds);
}
