/**
 * A pool of child processes, for several cores. The least busy child gets the next question. A
 * child that crashes is replaced, and its current question is tried once more.
 *
 * Terminal: deno run --allow-run --allow-env --allow-read examples/pool.ts
 */

import { type Child, json, lines, type Messages, messages, pair } from "@uds/uds";

interface Question {
  from: number;
  to: number;
}
interface Task {
  question: Question;
  resolve: (answer: number) => void;
  reject: (reason: Error) => void;
  /** How many children crashed while they worked on it. */
  crashes: number;
}
interface Worker {
  child: Child;
  channel: Messages<Question | number>;
  /** The questions that it was sent. It answers them in this order. */
  tasks: Task[];
}

class Pool implements AsyncDisposable {
  readonly #module: URL;
  readonly #workers = new Set<Worker>();
  /** Tasks that arrived while there was no worker. */
  #waiting: Task[] = [];
  #closing = false;

  private constructor(module: URL) {
    this.#module = module;
  }

  static async start(module: URL, size: number): Promise<Pool> {
    const pool = new Pool(module);
    await Promise.all(Array.from({ length: size }, () => pool.#add()));
    return pool;
  }

  ask(question: Question): Promise<number> {
    return new Promise((resolve, reject) => this.#give({ question, resolve, reject, crashes: 0 }));
  }

  /** The pids of the children, the busiest first. */
  get pids(): number[] {
    const busiest = [...this.#workers].sort((a, b) => b.tasks.length - a.tasks.length);
    return busiest.map(({ child }) => child.pid);
  }

  async #add(): Promise<void> {
    const child = await pair(this.#module, {
      // A clone needs these two lines. With the package from JSR they can go.
      modules: [new URL("..", import.meta.url)],
      config: new URL("../deno.json", import.meta.url),
    });
    if (this.#closing) {
      await child[Symbol.asyncDispose]();
      return;
    }
    const channel = messages(child.conn, json<Question | number>(lines()));
    const worker: Worker = { child, channel, tasks: [] };
    this.#workers.add(worker);
    void this.#listen(worker);
    for (const task of this.#waiting.splice(0)) this.#give(task);
  }

  #give(task: Task): void {
    const [first, ...others] = this.#workers;
    if (first === undefined) {
      this.#waiting.push(task);
      return;
    }
    const worker = others.reduce((a, b) => b.tasks.length < a.tasks.length ? b : a, first);
    worker.tasks.push(task);
    // If the child has ended, the end of its answers reports it.
    worker.channel.send(task.question).catch(() => {});
  }

  /** Resolves the tasks of a child with its answers, and replaces it when it has ended. */
  async #listen(worker: Worker): Promise<void> {
    try {
      for await (const answer of worker.channel) worker.tasks.shift()?.resolve(answer as number);
    } catch {
      // A reset, or half an answer: the child has ended.
    }
    this.#workers.delete(worker);
    await worker.child[Symbol.asyncDispose]();
    if (this.#closing) return;
    // The child was working on the first task. The others were only queued.
    const [culprit, ...others] = worker.tasks;
    if (culprit !== undefined && ++culprit.crashes === 2) {
      culprit.reject(new Error("two children have crashed on it"));
    } else if (culprit !== undefined) {
      others.unshift(culprit);
    }
    this.#waiting.push(...others);
    await this.#add();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#workers].map(async ({ child, channel }) => {
      await channel.closeWrite().catch(() => {});
      await child[Symbol.asyncDispose]();
    }));
  }
}

const MODULE = new URL("./pool/primes.ts", import.meta.url);
const STEP = 50_000;
const questions = Array.from({ length: 40 }, (_, i) => ({ from: i * STEP, to: (i + 1) * STEP }));

/** Returns how long, in milliseconds, all questions take with `size` children. */
async function measure(size: number): Promise<number> {
  await using pool = await Pool.start(MODULE, size);
  const start = performance.now();
  const counts = await Promise.all(questions.map((question) => pool.ask(question)));
  const ms = performance.now() - start;
  const sum = counts.reduce((a, b) => a + b);
  console.log(`pool of ${size}: ${sum} primes in ${ms.toFixed()} ms`);
  return ms;
}

const alone = await measure(1);
const together = await measure(2);
console.log(`speed-up: ${(alone / together).toFixed(2)}`);

await using pool = await Pool.start(MODULE, 2);
const answers = questions.slice(0, 10).map((question) => pool.ask(question));
const [busiest] = pool.pids;
Deno.kill(busiest!, "SIGKILL");
const sum = (await Promise.all(answers)).reduce((a, b) => a + b);
console.log(`after a child was killed: still ${sum} primes`);
await pool.ask({ from: 1, to: 0 }).catch((error) => console.log(`no answer: ${error.message}`));
console.log(`at the end: ${await pool.ask({ from: 0, to: 100 })} primes below 100`);
