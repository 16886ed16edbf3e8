// The package. If the import map led out of this directory, the lock file would have its version.
export * from "../../../mod.ts";
