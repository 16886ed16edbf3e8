/* A small message there and back with read and write. */

#include "../peer.h"

int main(int argc, char **argv) {
  static char buffer[64 * 1024];
  if (begin(argc, argv)) {
    int listener = open_listener();
    for (int pass = 0; pass < 2; pass++) {
      int fd = accept_one(listener);
      for (size_t count; (count = read_some(fd, buffer, sizeof buffer)) > 0;) {
        write_all(fd, buffer, count);
        bytes_counted += count;
      }
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
      size_t got = 0;
      while (got < size) {
        size_t count = read_some(fd, buffer + got, sizeof buffer - got);
        if (count == 0) exit(1);
        got += count;
      }
      items_counted++;
      bytes_counted += got;
    }
    close(fd);
    seconds = now() - start;
  }
  return report(seconds);
}
