/* Many bytes one way with read and write. */

#include "../peer.h"

int main(int argc, char **argv) {
  int server = begin(argc, argv);
  char *buffer = malloc(size);
  must(buffer != NULL, "malloc");
  memset(buffer, 0, size);
  if (server) {
    int listener = open_listener();
    for (int pass = 0; pass < 2; pass++) {
      int fd = accept_one(listener);
      size_t total = passes[pass] * size, got = 0;
      while (got < total) {
        size_t count = read_some(fd, buffer, size);
        if (count == 0) exit(1);
        got += count;
      }
      bytes_counted += got;
      close(fd);
    }
    items_counted = bytes_counted / size;
    return report(0);
  }
  double seconds = 0;
  for (int pass = 0; pass < 2; pass++) {
    double start = now();
    int fd = open_connection();
    for (size_t i = 0; i < passes[pass]; i++) {
      write_all(fd, buffer, size);
      items_counted++;
      bytes_counted += size;
    }
    read_some(fd, buffer, 1);
    close(fd);
    seconds = now() - start;
  }
  return report(seconds);
}
