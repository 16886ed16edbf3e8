/** nginx and HAProxy that are reloaded, and the clients that count what they lose meanwhile. */

import { connect } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { fixturePath, Program, run, turn } from "../_helpers.ts";
import { asUser, type UserDir } from "./_programs.ts";

/** Clients of HTTP in a loop. Half of them keep their connections, if the server does. */
export class Load implements AsyncDisposable {
  readonly #program: Program;

  private constructor(program: Program) {
    this.#program = program;
  }

  /** Starts 40 clients of a path. */
  static async start(dir: UserDir, path: string): Promise<Load> {
    const clients = dir.file("clients");
    const compiled = await run("gcc", ["-O2", "-o", clients, fixturePath("http_clients.c")]);
    assertEquals(compiled, { code: 0, stdout: "", stderr: "" });
    const [program = "", ...args] = asUser(clients, path, "40", "1000");
    return new Load(new Program(program, args, { stdin: "piped" }));
  }

  /** Resolves when 1,000 more requests are answered. */
  async answered(): Promise<void> {
    assertEquals(await this.#program.line(), "answered");
  }

  /** Stops the clients. Asserts that each request was answered, and returns their number. */
  async end(): Promise<number> {
    await this.#program.stdin.close();
    const lines = await this.#program.output();
    const counts = JSON.parse(lines.findLast((line) => line !== "answered") ?? "");
    const { answered, connected, kept, ...problems } = counts;
    assertEquals(problems, { refused: 0, lost: 0, odd: 0, firstProblem: "" });
    assert(connected > 0 && answered === connected + kept, JSON.stringify(counts));
    return answered;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]();
  }
}

/** A proxy with a master process, which starts new workers when it is told to reload. */
interface Kind {
  command: string[];
  /** Returns its configuration. Its answers have the header `X-Reload` with a number. */
  configuration(dir: UserDir, front: string, target: string, number: number): string;
  reload: Deno.Signal;
}

const KINDS: Record<string, Kind> = {
  nginx: {
    command: ["nginx", "-e", "stderr", "-c"],
    // With a kept connection, nginx may end it when the next request is on its way.
    configuration: (dir, front, target, number) =>
      `daemon off; worker_processes 2; pid ${dir.file("pid")}; error_log stderr;
      events {}
      http {
        map $http_upgrade $kept { default upgrade; "" close; }
        access_log off; keepalive_timeout 0;
        ${
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) =>
          `${name}_temp_path ${dir.file(name)};`
        ).join(" ")
      }
        server {
          listen unix:${front};
          location / {
            proxy_pass http://unix:${target};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $kept;
            add_header X-Reload ${number} always;
          }
        }
      }`,
    reload: "SIGHUP",
  },
  haproxy: {
    command: ["haproxy", "-W", "-db", "-f"],
    configuration: (_dir, front, target, number) =>
      `defaults
        mode http
        timeout client 10s
        timeout connect 5s
        timeout server 10s
        timeout tunnel 60s
        option idle-close-on-response
      listen app
        bind unix@${front}
        http-response set-header X-Reload ${number}
        server app unix@${target}\n`,
    reload: "SIGUSR2",
  },
};

/** A running proxy. */
export class Proxy implements AsyncDisposable {
  readonly #kind: Kind;
  readonly #dir: UserDir;
  readonly #target: string;
  readonly #program: Program;
  #number = 0;
  /** The number of its workers before it was reloaded. */
  #before = Infinity;
  readonly path: string;

  private constructor(name: string, dir: UserDir, target: string) {
    this.#kind = KINDS[name]!;
    this.#dir = dir;
    this.#target = target;
    this.path = dir.file("front.sock");
    this.#configure();
    const [setpriv = "", , , ...rest] = asUser(...this.#kind.command, dir.file("conf"));
    // SIGKILL would leave its workers running.
    this.#program = new Program(setpriv, ["--pdeathsig", "TERM", ...rest]);
  }

  /** Starts a proxy in front of a path. */
  static async start(name: string, dir: UserDir, target: string): Promise<Proxy> {
    const proxy = new Proxy(name, dir, target);
    await Promise.race([
      connect({ path: proxy.path, wait: true, timeout: Infinity }).then((conn) => conn.close()),
      proxy.#program.status.then(async () => {
        throw new Error(`${name} has ended: ${await proxy.#program.stderr()}`);
      }),
    ]);
    return proxy;
  }

  #configure(): void {
    const text = this.#kind.configuration(this.#dir, this.path, this.#target, this.#number);
    Deno.writeTextFileSync(this.#dir.file("conf"), text);
  }

  /** Returns the number of its workers. */
  #workers(): number {
    const { pid } = this.#program;
    return Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ").length;
  }

  /** Reloads it with another configuration. Waits until a client is answered by that. */
  async reload(): Promise<void> {
    this.#number++;
    this.#configure();
    this.#before = this.#workers();
    this.#program.kill(this.#kind.reload);
    const curl = ["-sS", "-D", "-", "--unix-socket", this.path, "http://localhost/"];
    const isReloaded = new RegExp(`^x-reload: ${this.#number}\r$`, "im");
    while (!isReloaded.test((await run("curl", curl)).stdout));
  }

  /** Waits until the workers from before it was reloaded have served their clients. */
  async settled(): Promise<void> {
    while (this.#workers() > this.#before) await turn();
  }

  /** Ends it and its workers. */
  async end(): Promise<void> {
    this.#program.kill("SIGTERM");
    await this.#program.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    await this.#program[Symbol.asyncDispose]();
  }
}
