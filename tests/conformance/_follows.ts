/** The shape of the tests that follow the public test suites of peers. */

import { test, type TestOptions } from "../_helpers.ts";

/**
 * Defines a test of a behavior that a peer tests, too. Its name is the behavior, then the followed
 * test in parentheses.
 *
 * @param followed The suite and its test, such as `"tokio uds_cred: test_socket_pair"`.
 */
export function follows(
  followed: string,
  behavior: string,
  fn: (t: Deno.TestContext) => Promise<void> | void,
  options: TestOptions = {},
): void {
  test(`${behavior} (${followed})`, fn, options);
}
