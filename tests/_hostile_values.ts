/** Values that fail when they are touched, which code of users may throw. */

/** Returns an error with a property that throws when it is read. */
function errorWith(property: string): Error {
  return Object.defineProperty(new Error("hostile"), property, {
    get() {
      throw new Error(`the getter of ${property} throws`);
    },
  });
}

/** Returns an error with another message. */
function errorOf(message: unknown): Error {
  return Object.defineProperty(new Error(), "message", { value: message });
}

function revokedProxy(): unknown {
  const { proxy, revoke } = Proxy.revocable(new Error("hostile"), {});
  revoke();
  return proxy;
}

function fail(): never {
  throw new Error("it was touched");
}

/** Returns the values, by their names. */
export function hostileValues(): Record<string, unknown> {
  return {
    "an object without a prototype": Object.create(null),
    "a symbol": Symbol("hostile"),
    "undefined": undefined,
    "a revoked proxy": revokedProxy(),
    "a proxy with traps that throw": new Proxy(
      new Error("hostile"),
      { get: fail, has: fail, getPrototypeOf: fail },
    ),
    "an object with a toString() that throws": { toString: fail },
    "an object that cannot be inspected": { [Symbol.for("Deno.customInspect")]: fail },
    "an error with a message that throws": errorWith("message"),
    "an error with a stack that throws": errorWith("stack"),
    "an error with a name that throws": errorWith("name"),
    "an error with a cause that throws": errorWith("cause"),
    "an error with a code that throws": errorWith("code"),
    "an error with a BigInt as its message": errorOf(1n),
    "an error with a symbol as its message": errorOf(Symbol("hostile")),
    "an error with a message without a text": errorOf(Object.create(null)),
  };
}
