/** The last part of a path. */
export declare function basename(path: string | URL, suffix?: string): string;
/** The directory of a path. */
export declare function dirname(path: string | URL): string;
/** The path of a `file:` URL. */
export declare function fromFileUrl(url: string | URL): string;
/** Joins and normalises parts of a path. */
export declare function join(path: string | URL, ...paths: string[]): string;
/** Makes a path absolute. */
export declare function resolve(...pathSegments: string[]): string;
/** The `file:` URL of a path. */
export declare function toFileUrl(path: string): URL;
