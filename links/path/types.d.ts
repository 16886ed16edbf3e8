/** Returns the last part of a path. */
export declare function basename(path: string | URL, suffix?: string): string;
/** Returns the directory of a path. */
export declare function dirname(path: string | URL): string;
/** Returns the path of a `file:` URL. */
export declare function fromFileUrl(url: string | URL): string;
/** Joins and normalizes parts of a path. */
export declare function join(path: string | URL, ...paths: string[]): string;
/** Makes a path absolute. */
export declare function resolve(...pathSegments: string[]): string;
/** Returns the `file:` URL of a path. */
export declare function toFileUrl(path: string): URL;
