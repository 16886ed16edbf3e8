/** Messages that are encoded already, and must not be encoded again. */

/** A message that was encoded before. Only `sendEncoded()` of a channel takes it. */
export abstract class AlreadyEncoded {
  /** JSON would encode it again. */
  toJSON(): never {
    throw alreadyEncoded();
  }
}

/** Returns the error of sending an encoded message as one that is not. */
export function alreadyEncoded(): Error {
  return new TypeError("Invalid message: it is encoded already. Use sendEncoded()");
}
