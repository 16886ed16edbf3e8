// deno-lint-ignore no-explicit-any -- a constructor with any parameters
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Asserts that a value is truthy. */
export declare function assert(expr: unknown, msg?: string): asserts expr;
/** Asserts deep equality. */
export declare function assertEquals<T>(actual: T, expected: T, msg?: string): void;
/** Asserts the class of a value. */
export declare function assertInstanceOf<
  // deno-lint-ignore no-explicit-any -- a constructor with any parameters
  T extends abstract new (...args: any[]) => any,
>(actual: unknown, expectedType: T, msg?: string): asserts actual is InstanceType<T>;
/** Asserts that a text matches. */
export declare function assertMatch(actual: string, expected: RegExp, msg?: string): void;
/** Asserts that a promise rejects, and returns the error. */
export declare function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
/** Asserts strict equality. */
export declare function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T;
/** Asserts that a text contains another. */
export declare function assertStringIncludes(actual: string, expected: string, msg?: string): void;
/** Asserts that a function throws, and returns the error. */
export declare function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): E;
/** Fails. */
export declare function fail(msg?: string): never;
