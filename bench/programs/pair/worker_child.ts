/** The end of the worker. Its first message is the task. */

/// <reference lib="deno.worker" />

declare const self: DedicatedWorkerGlobalScope;

self.onmessage = ({ data: [, what, , ...numbers] }: MessageEvent<string[]>) => {
  const [size, warm, count] = numbers.map(Number) as [number, number, number];
  const item = new Uint8Array(size);
  const passes = [warm, count];
  let got = 0;
  self.onmessage = ({ data }: MessageEvent<Uint8Array>) => {
    if (what === "down") {
      const items = passes.shift() ?? 0;
      for (let i = 0; i < items; i++) self.postMessage(item);
    } else if (what === "up") {
      got += data.length;
      if (got < (passes[0] ?? 0) * size) return;
      passes.shift();
      got = 0;
      self.postMessage(new Uint8Array(8));
    } else {
      self.postMessage(data);
    }
  };
};
