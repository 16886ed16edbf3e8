/** Certificates of a test, made by openssl. */

import { assertEquals } from "@std/assert";
import { run, type TempDir } from "./_helpers.ts";

/** The files of a certificate and its key. */
export interface Certificate {
  cert: string;
  key: string;
}

const KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(" ");

async function openssl(...args: string[]): Promise<void> {
  const { code, stderr } = await run("openssl", args);
  assertEquals(code, 0, stderr);
}

function files(dir: TempDir, name: string): Certificate {
  return { cert: dir.file(`${name}.pem`), key: dir.file(`${name}.key`) };
}

/** Makes an authority. */
export async function authority(dir: TempDir, name: string): Promise<Certificate> {
  const { cert, key } = files(dir, name);
  await openssl(
    "req",
    "-x509",
    ...KEY,
    "-days",
    "2",
    "-subj",
    `/CN=${name}`,
    "-keyout",
    key,
    "-out",
    cert,
  );
  return { cert, key };
}

/** Makes a certificate for localhost, which an authority signs. It has expired after -1 days. */
export async function issued(
  dir: TempDir,
  name: string,
  by: Certificate,
  days = 2,
): Promise<Certificate> {
  const { cert, key } = files(dir, name);
  const [request, extensions] = [dir.file(`${name}.csr`), dir.file(`${name}.ext`)];
  await Deno.writeTextFile(
    extensions,
    "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\n",
  );
  await openssl("req", ...KEY, "-subj", `/CN=${name}`, "-keyout", key, "-out", request);
  await openssl(
    ...["x509", "-req", "-in", request, "-CA", by.cert, "-CAkey", by.key],
    // Its own file of numbers: several may be made at once.
    ...[
      "-CAcreateserial",
      "-CAserial",
      dir.file(`${name}.srl`),
      "-days",
      `${days}`,
      "-extfile",
      extensions,
      "-out",
      cert,
    ],
  );
  return { cert, key };
}

/** Makes an authority of version 1 of X.509, which has no extensions. */
export async function versionOne(dir: TempDir, name: string): Promise<Certificate> {
  const { cert, key } = files(dir, name);
  const request = dir.file(`${name}.csr`);
  await openssl("req", ...KEY, "-subj", `/CN=${name}`, "-keyout", key, "-out", request);
  await openssl(
    ...["x509", "-req", "-in", request, "-signkey", key, "-days", "2", "-out", cert],
  );
  return { cert, key };
}
