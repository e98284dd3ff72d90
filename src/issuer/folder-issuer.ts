import { constants } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { inOrder } from '../certificate/chain-order.ts'
import { parseChain } from '../certificate/parse-chain.ts'
import { publicKeyOfRequest } from '../certificate/request.ts'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { IssueAnswer, IssueRequest, Issuer } from './issuer.ts'

/** A folder through which requests go out and certificates come in. */
export interface FolderIssuerOptions {
  /** One folder for each device; it is made where it is missing. */
  readonly folder: string
  /** How often it is looked into while a certificate is awaited, in milliseconds; default ten seconds. */
  readonly pollMs?: number
  /** The user id, besides this process's own and root's, whose certificate files are taken. */
  readonly trustedUser?: number
}

const requestFile = 'request.csr'
const certificateFile = 'certificate.pem'
/** One more than a chain may have: what is larger is refused for its size. */
const mostBytesRead = 64 * 1024 + 1
const settledName = /^(accepted|refused)-[A-Za-z0-9-]+\.pem$/

/**
 * An issuer for pipelines that are not ours, and for air gaps: writes the request (PKCS#10, PEM) to `request.csr` and
 * waits for the chain (PEM leaf first, or certs-only PKCS#7) in `certificate.pem`. Whoever brings it writes another
 * name first and renames it, so that it is there as a whole.
 *
 * A certificate that was picked up is kept as `accepted-REQUEST.pem` until the next request: after a crash it is
 * found again. One that cannot be read, or is for another key (the answer to an older request), is set aside as
 * `refused-REQUEST.pem`, and the right one is awaited. Files that others than this user, root or `trustedUser` could
 * have written are not taken.
 *
 * @example
 * ```ts
 * folderIssuer({ folder: '/var/lib/leafkeeper/exchange' })
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` for a value out of its range. A request rejects with
 * `ISSUER_UNAVAILABLE` while the folder or the file cannot be used, and with a retryable `CERT_*` for what was set aside
 */
export function folderIssuer(options: FolderIssuerOptions): Issuer {
  const { folder, pollMs = 10_000 } = options
  if (folder === '' || !(pollMs >= 1))
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `Expected the folder issuer to have a folder and a pollMs of at least 1, got ${JSON.stringify({ folder, pollMs })}.`,
    })
  const trusted = new Set([process.getuid?.() ?? 0, 0, options.trustedUser ?? 0])

  const ask = async (request: IssueRequest, published: boolean): Promise<IssueAnswer> => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    requireOwn(folder, await stat(folder), trusted)
    const accepted = settledAs('accepted', request, folder)
    const chain = (await readOwn(accepted, trusted)) ?? (await pickUp(folder, request, trusted))
    if (chain !== undefined) {
      await rm(join(folder, requestFile), { force: true })
      return { kind: 'issued', chain }
    }
    // Each request for one key has another signature: the one that is out stays, so that people can compare it.
    if (!published || !(await isThere(join(folder, requestFile)))) await publishRequest(folder, request)
    return { kind: 'pending', ticket: request.requestId, retryAfterMs: pollMs }
  }
  const askOrExplain = (request: IssueRequest, published: boolean): Promise<IssueAnswer> =>
    ask(request, published).catch((error: unknown) => {
      if (error instanceof LeafkeeperError) throw error
      throw new LeafkeeperError('ISSUER_UNAVAILABLE', {
        message: `The folder ${folder} cannot be used to exchange certificates (${messageOf(error)}).`,
        cause: error,
      })
    })
  return {
    name: `folder ${folder}`,
    submit: (request) => askOrExplain(request, false),
    resume: (_ticket, request) => askOrExplain(request, true),
  }
}

/** Takes the certificate under a name of this request's own, so that neither a crash nor the next roll mistakes it. */
async function pickUp(
  folder: string,
  request: IssueRequest,
  trusted: ReadonlySet<number>,
): Promise<string | undefined> {
  const delivered = join(folder, certificateFile)
  const setAside = async (as: 'accepted' | 'refused'): Promise<void> => {
    await rename(delivered, settledAs(as, request, folder))
    await syncFolder(folder)
  }
  const chain = await readOwn(delivered, trusted)
  // Somebody who does not rename is still writing it.
  if (chain === undefined || !isWhole(chain)) return undefined
  try {
    inOrder(parseChain(chain), publicKeyOfRequest(request.csr))
  } catch (error) {
    if (!(error instanceof LeafkeeperError)) throw error
    await setAside('refused')
    throw new LeafkeeperError(error.code, {
      message: `${delivered} was set aside as ${settledAs('refused', request, folder)}, and the right one is awaited. ${error.message}`,
      cause: error,
      retryable: true,
    })
  }
  await setAside('accepted')
  return chain
}

/** The request, written as a whole or not at all; what earlier requests have left goes. */
async function publishRequest(folder: string, { csr }: IssueRequest): Promise<void> {
  for (const name of await readdir(folder))
    if (settledName.test(name)) await rm(join(folder, name), { force: true })
  const published = join(folder, requestFile)
  const draft = `${published}.new`
  const file = await open(draft, 'w', 0o644)
  try {
    await file.writeFile(csr)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, published)
  await syncFolder(folder)
}

function settledAs(as: 'accepted' | 'refused', { requestId }: IssueRequest, folder: string): string {
  return join(folder, `${as}-${requestId.replace(/[^A-Za-z0-9-]/g, '-')}.pem`)
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** A file's text where it is there; it has to be a file of ours, and no link to somebody else's. */
async function readOwn(path: string, trusted: ReadonlySet<number>): Promise<string | undefined> {
  const found = await lstat(path).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  })
  if (found === undefined) return undefined
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const now = await file.stat()
    if (!now.isFile()) throw unusable(`${path} is not a regular file`)
    requireOwn(path, now, trusted)
    const buffer = Buffer.alloc(Math.min(now.size, mostBytesRead))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

function requireOwn(
  path: string,
  { uid, mode }: { readonly uid: number; readonly mode: number },
  trusted: ReadonlySet<number>,
): void {
  if (!trusted.has(uid))
    throw unusable(`${path} belongs to user ${uid}; expected one of ${[...trusted].join(', ')}`)
  if ((mode & 0o002) !== 0) throw unusable(`everybody may write to ${path}; take that right away (chmod o-w)`)
}

function unusable(why: string): LeafkeeperError {
  return new LeafkeeperError('ISSUER_UNAVAILABLE', { message: `The certificate is not taken: ${why}.` })
}

function isWhole(text: string): boolean {
  if (text.length >= mostBytesRead) return true
  const begun = text.match(/-----BEGIN /g)?.length ?? 0
  const ended = text.match(/-----END [^\n]*-----/g)?.length ?? 0
  return text.trim() !== '' && begun === ended
}

/** A rename is only kept when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
