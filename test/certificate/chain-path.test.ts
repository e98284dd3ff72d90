import { webcrypto } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { chainByPath, type ChainSources } from '../../src/certificate/chain-path.ts'
import * as x509 from '../../src/certificate/x509.ts'
import { certificatesInPem, toPem } from '../../src/hsm/pem.ts'
import { TestAuthority } from '../support/test-authority.ts'

const authority = [new x509.BasicConstraintsExtension(true, undefined, true)]

let root: TestAuthority
let middle: TestAuthority
let low: TestAuthority
let stranger: TestAuthority
let publicKey: Uint8Array

beforeAll(async () => {
  root = await TestAuthority.root('root')
  middle = await root.intermediate('middle')
  low = await middle.intermediate('low')
  stranger = await TestAuthority.root('stranger')
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign'])
  publicKey = new Uint8Array(await webcrypto.subtle.exportKey('spki', keys.publicKey))
})

const der = (...authorities: TestAuthority[]): Buffer[] =>
  authorities.flatMap(({ pem }) => certificatesInPem(pem))
const leafBy = async (issuer: TestAuthority): Promise<Buffer[]> =>
  certificatesInPem(await issuer.issue(publicKey)).slice(0, 1)
/** One authority's key, certified by another. */
const cross = async (subject: TestAuthority, issuer: TestAuthority): Promise<Buffer[]> => {
  const { publicKey: key, subject: name } = subject.certificate
  const chain = await issuer.issue(new Uint8Array(key.rawData), { subject: name, extensions: authority })
  return certificatesInPem(chain).slice(0, 1)
}
/** The chain above the leaf. */
const above = async (
  issuer: TestAuthority,
  sources: Pick<ChainSources, 'published' | 'anchors'> & { readonly issued?: readonly Buffer[] },
): Promise<string> => {
  const { issued = [], ...rest } = sources
  const [leaf, ...others] = chainByPath({
    publicKey,
    issued: [...issued, ...(await leafBy(issuer))],
    ...rest,
  })
  expect(new x509.X509Certificate(Uint8Array.from(leaf)).subject).toBe('CN=device-1')
  return toPem(others)
}

describe('the way from a leaf', () => {
  it.each<[what: string, sources: () => Parameters<typeof above>[1], way: () => Buffer[]]>([
    ['leaves the root out', () => ({ published: der(root, low, stranger, middle) }), () => der(low, middle)],
    ['goes as far as there is somebody', () => ({ published: der(middle, low) }), () => der(low, middle)],
    [
      'goes over what came with the leaf',
      () => ({ published: der(root), issued: der(low, middle) }),
      () => der(low, middle),
    ],
    [
      'ends at an anchor',
      () => ({ published: der(low, middle, root), anchors: der(middle) }),
      () => der(low, middle),
    ],
    [
      'ends at an anchor that is not published',
      () => ({ published: der(low), anchors: der(middle) }),
      () => der(low, middle),
    ],
    [
      'ends at the root that is an anchor',
      () => ({ published: der(low, middle), anchors: der(root) }),
      () => der(low, middle),
    ],
  ])('%s', async (_what, sources, way) => {
    expect(await above(low, sources())).toBe(toPem(way()))
  })

  it('ends nowhere where nobody is trusted who has signed', async () => {
    for (const sources of [
      { published: der(root, middle) },
      { published: der(low, middle, root), anchors: der(stranger) },
      { published: [], issued: der(low, middle, root) },
    ])
      await expect(above(low, sources)).rejects.toMatchObject({ code: 'CERT_CHAIN_BROKEN' })
  })

  it('is not over a certificate that is no authority', async () => {
    const [leaf = Buffer.alloc(0)] = certificatesInPem(
      await root.issue(new Uint8Array(low.certificate.publicKey.rawData), {
        subject: low.certificate.subject,
      }),
    )
    await expect(above(low, { published: [leaf, ...der(root)] })).rejects.toMatchObject({
      code: 'CERT_CHAIN_BROKEN',
    })
  })

  it('begins with the key that was asked for', async () => {
    const other = certificatesInPem(await root.issue(new Uint8Array(low.certificate.publicKey.rawData)))
    expect(() => chainByPath({ publicKey, issued: other, published: der(root) })).toThrow(
      expect.objectContaining({ code: 'CERT_KEY_MISMATCH' }) as Error,
    )
  })
})

describe('while an authority changes its root (RFC 4210, 4.4)', () => {
  it('the way is short for those who know the root that has signed, and long for those who know the other', async () => {
    const [before, after] = [await TestAuthority.root('root 1'), await TestAuthority.root('root 2')]
    const [oldWithNew, newWithOld] = [await cross(before, after), await cross(after, before)]
    const published = [...der(before), ...newWithOld, ...oldWithNew, ...der(after)]
    expect(await above(after, { published })).toBe('')
    expect(await above(after, { published, anchors: der(after) })).toBe('')
    expect(await above(after, { published, anchors: der(before) })).toBe(toPem(newWithOld))
    expect(await above(before, { published, anchors: der(after) })).toBe(toPem(oldWithNew))
  })

  it('a ring of authorities has an end', async () => {
    const [one, two] = [await TestAuthority.root('one'), await TestAuthority.root('two')]
    const published = [...(await cross(one, two)), ...(await cross(two, one))]
    expect(await above(one, { published })).toBe(toPem(published))
    await expect(above(one, { published, anchors: der(stranger) })).rejects.toMatchObject({
      code: 'CERT_CHAIN_BROKEN',
    })
  })
})
