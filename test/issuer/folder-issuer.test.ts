import { chmod, chown, mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TestAuthority } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { folderIssuer } from '../../src/issuer/folder-issuer.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { issueRequest } from './requests.ts'

const pending = { kind: 'pending', ticket: 'request-1', retryAfterMs: 20 }

async function world() {
  const folder = join(await temporaryFolder(), 'exchange')
  const root = await TestAuthority.createRoot({ commonName: 'third party' })
  const request = await issueRequest()
  const issuer = folderIssuer({ folder, pollMs: 20 })
  const { chain } = await root.issueLeaf({ csr: request.csr })
  /** As a person would: another name first, then renamed. */
  const deliver = async (text: string): Promise<string> => {
    const path = join(folder, 'certificate.pem')
    await writeFile(`${path}.part`, text)
    await rename(`${path}.part`, path)
    return path
  }
  return { folder, root, request, issuer, chain, deliver }
}

describe('the folder issuer', () => {
  it('writes the request and waits; takes the certificate and clears the request away', async () => {
    const { folder, request, issuer, chain, deliver } = await world()
    expect(await issuer.submit(request)).toEqual(pending)
    expect(await readFile(join(folder, 'request.csr'), 'utf8')).toBe(request.csr)
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
    expect(await issuer.resume('request-1', request)).toEqual(pending)

    await deliver(chain)
    expect(await issuer.resume('request-1', request)).toEqual({ kind: 'issued', chain })
    expect(await readdir(folder)).toEqual(['accepted-request-1.pem'])
    // The process may end before it has stored the certificate: it finds it again, by either call.
    expect(await issuer.resume('request-1', request)).toEqual({ kind: 'issued', chain })
    expect(await issuer.submit(request)).toEqual({ kind: 'issued', chain })
  })

  it('leaves a request that is out as it is, and writes one that has vanished again', async () => {
    const { folder, request, issuer } = await world()
    await issuer.submit(request)
    const resigned = await issueRequest()
    await issuer.resume('request-1', resigned)
    expect(await readFile(join(folder, 'request.csr'), 'utf8')).toBe(request.csr)
    await rename(join(folder, 'request.csr'), join(folder, 'taken-away.csr'))
    await issuer.resume('request-1', resigned)
    expect(await readFile(join(folder, 'request.csr'), 'utf8')).toBe(resigned.csr)
  })

  it('does not give the certificate of an earlier request to a later one', async () => {
    const { folder, request, issuer, chain, deliver, root } = await world()
    await issuer.submit(request)
    await deliver(chain)
    await issuer.resume('request-1', request)
    const later = await issueRequest({ requestId: 'request-2' })
    expect(await issuer.submit(later)).toEqual({ ...pending, ticket: 'request-2' })
    expect(await readdir(folder)).toEqual(['request.csr'])

    // An answer to the first request that comes late, or twice, is set aside; the right one is still awaited.
    await deliver(chain)
    await expect(issuer.resume('request-2', later)).rejects.toMatchObject({
      code: 'CERT_KEY_MISMATCH',
      retryable: true,
      message: expect.stringContaining('refused-request-2.pem') as unknown,
    })
    expect(await issuer.resume('request-2', later)).toMatchObject({ kind: 'pending' })
    const right = await root.issueLeaf({ csr: later.csr })
    await deliver(right.chain)
    expect(await issuer.resume('request-2', later)).toEqual({ kind: 'issued', chain: right.chain })
  })

  it.each([
    ['no certificate', 'hello', 'CERT_UNREADABLE'],
    ['10 MB of garbage', 'x'.repeat(10_000_000), 'CERT_TOO_LARGE'],
  ])('sets %s aside', async (_what, text, code) => {
    const { request, issuer, deliver, folder } = await world()
    await issuer.submit(request)
    await deliver(text)
    await expect(issuer.resume('request-1', request)).rejects.toMatchObject({ code, retryable: true })
    expect(await readdir(folder)).toEqual(['refused-request-1.pem', 'request.csr'])
    expect(await issuer.resume('request-1', request)).toEqual(pending)
  })

  it('waits for the rest of a file that is written in place', async () => {
    const { folder, request, issuer, chain } = await world()
    await issuer.submit(request)
    for (const part of ['', chain.slice(0, 100)]) {
      await writeFile(join(folder, 'certificate.pem'), part)
      expect(await issuer.resume('request-1', request)).toEqual(pending)
    }
    await writeFile(join(folder, 'certificate.pem'), chain)
    expect(await issuer.resume('request-1', request)).toEqual({ kind: 'issued', chain })
  })

  it('takes no file that others could have written, and says why', async () => {
    const { folder, request, issuer, chain, deliver } = await world()
    await issuer.submit(request)
    const path = await deliver(chain)
    const refusal = async (): Promise<unknown> =>
      issuer.resume('request-1', request).catch((thrown: unknown) => thrown)
    await chmod(path, 0o666)
    expect(await refusal()).toMatchObject({
      code: 'ISSUER_UNAVAILABLE',
      message: expect.stringMatching(/everybody may write to .*certificate\.pem.*chmod/) as unknown,
    })
    await chmod(path, 0o644)
    await chmod(folder, 0o777)
    expect(await refusal()).toMatchObject({ code: 'ISSUER_UNAVAILABLE' })
    await chmod(folder, 0o700)
    await rename(path, join(folder, 'elsewhere'))
    await symlink(join(folder, 'elsewhere'), path)
    expect(await refusal()).toMatchObject({ code: 'ISSUER_UNAVAILABLE' })
    // Put right, it is taken.
    await rename(join(folder, 'elsewhere'), path)
    expect(await issuer.resume('request-1', request)).toEqual({ kind: 'issued', chain })
  })

  it.skipIf(process.getuid?.() !== 0)("takes another user's file only where it is told to", async () => {
    const { folder, request, issuer, chain, deliver } = await world()
    await issuer.submit(request)
    await chown(await deliver(chain), 4711, 4711)
    await expect(issuer.resume('request-1', request)).rejects.toMatchObject({
      code: 'ISSUER_UNAVAILABLE',
      message: expect.stringContaining('belongs to user 4711') as unknown,
    })
    const trusting = folderIssuer({ folder, pollMs: 20, trustedUser: 4711 })
    expect(await trusting.resume('request-1', request)).toEqual({ kind: 'issued', chain })
  })

  it('says what is wrong with a folder that cannot be used, or its options', async () => {
    const { folder, request } = await world()
    await mkdir(folder)
    await writeFile(join(folder, 'file'), '')
    await expect(folderIssuer({ folder: join(folder, 'file') }).submit(request)).rejects.toMatchObject({
      code: 'ISSUER_UNAVAILABLE',
      message: expect.stringContaining(join(folder, 'file')) as unknown,
    })
    expect(() => folderIssuer({ folder: '' })).toThrow(/Expected the folder issuer to have a folder/)
    expect(() => folderIssuer({ folder, pollMs: 0 })).toThrow(/pollMs of at least 1/)
  })
})
