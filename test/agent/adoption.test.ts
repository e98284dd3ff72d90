import { execFileSync } from 'node:child_process'
import { webcrypto } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DeviceAgent } from 'leafkeeper'
import type { IssuedLeaf } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createEnrollingWorld, hubThumbprint, next, type World } from '../support/world.ts'

/** A key pair that another tool made on the token, and its certificate, which is nowhere yet. */
interface Foreign {
  readonly label: string
  readonly id: string
  readonly leaf: IssuedLeaf
  readonly file: string
  readonly publicKey: webcrypto.CryptoKey
}

const { subtle } = webcrypto
let made = 0

const algorithms = {
  'P-256': { name: 'ECDSA', namedCurve: 'P-256' },
  'P-384': { name: 'ECDSA', namedCurve: 'P-384' },
  'P-521': { name: 'ECDSA', namedCurve: 'P-521' },
  RSA: {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: Uint8Array.of(1, 0, 1),
    hash: 'SHA-256',
  },
} as const

async function foreignKey(
  world: World,
  commonName: string,
  type: keyof typeof algorithms,
  named: Partial<Foreign> = {},
): Promise<Foreign> {
  made += 1
  const { label, id } = { label: `factory-${made}`, id: `f${String(made).padStart(3, '0')}`, ...named }
  const folder = await temporaryFolder()
  const { publicKey, privateKey } = await subtle.generateKey(algorithms[type], true, ['sign', 'verify'])
  for (const [kind, key, format] of [
    ['privkey', privateKey, 'pkcs8'],
    ['pubkey', publicKey, 'spki'],
  ] as const) {
    const der = join(folder, kind)
    await writeFile(der, Buffer.from(await subtle.exportKey(format, key)))
    world.hsm.pkcs11Tool('--write-object', der, '--type', kind, '--id', id, '--label', label, '--usage-sign')
  }
  const leaf = await world.root.issueLeaf({ commonName, publicKey })
  const file = join(folder, 'device.pem')
  await writeFile(file, leaf.chain)
  return { label, id, leaf, file, publicKey }
}

/** Puts the certificate on the token, as another tool does. */
function storeCertificate({ hsm }: World, { file, label }: Foreign, id: string): void {
  const der = `${file}.der`
  execFileSync('openssl', ['x509', '-in', file, '-outform', 'DER', '-out', der])
  hsm.pkcs11Tool('--write-object', der, '--type', 'cert', '--id', id, '--label', label)
}

const uriOf = ({ id }: Foreign): string => `pkcs11:id=${id.replace(/../g, '%$&')}`

describe('a key that is on the token already', () => {
  const ways: [
    what: string,
    type: keyof typeof algorithms,
    prepare: (world: World, foreign: Foreign) => object,
  ][] = [
    [
      'EC, its certificate beside it',
      'P-256',
      (world, foreign) => {
        storeCertificate(world, foreign, foreign.id)
        return { key: `pkcs11:object=${foreign.label}` }
      },
    ],
    [
      'EC, its certificate under another id',
      'P-384',
      (world, foreign) => {
        storeCertificate(world, foreign, `${foreign.id}ff`)
        return { key: `pkcs11:object=${foreign.label};type=private` }
      },
    ],
    [
      'EC, its certificate in a file',
      'P-256',
      (_world, foreign) => ({
        key: uriOf(foreign),
        certificate: { file: foreign.file },
      }),
    ],
    [
      'EC, without its public key',
      'P-256',
      (world, foreign) => {
        world.hsm.deleteObject('pubkey', foreign.id)
        return { key: uriOf(foreign), certificate: { file: foreign.file } }
      },
    ],
    [
      'RSA, without its public key',
      'RSA',
      (world, foreign) => {
        world.hsm.deleteObject('pubkey', foreign.id)
        storeCertificate(world, foreign, foreign.id)
        return { key: uriOf(foreign) }
      },
    ],
  ]

  it.each(ways)('%s: is the first generation, is rolled, and leaves', async (what, type, prepare) => {
    const name = `adopts-${what.replace(/\W+/g, '-')}`
    const world = await createEnrollingWorld(name)
    const foreign = await foreignKey(world, name, type)
    world.issued.push(foreign.leaf)
    world.enroll(name, foreign.leaf)
    const adopt = prepare(world, foreign) as { key: string }
    const stateFolder = await temporaryFolder()
    const first = await DeviceAgent.start(world.agentOptions(name, { adopt, stateFolder }))
    await first.connected()
    expect(first.status()).toMatchObject({ active: { generation: 1, thumbprint: foreign.leaf.thumbprint } })
    expect(hubThumbprint(world.cloud, first)).toBe(foreign.leaf.thumbprint)
    await first.stop()

    // The option may stay where it is.
    const agent = await world.startAgent(name, { adopt, stateFolder })
    await agent.connected()
    const retired = next(agent, 'retired')
    expect(await agent.roll({ mode: 'breach' })).toMatchObject({
      generation: 2,
      oldThumbprint: foreign.leaf.thumbprint,
    })
    await retired
    expect(world.hsm.objects(foreign.id)).toEqual([])
    await agent.stop()
    const again = await world.startAgent(name, { adopt, stateFolder })
    await again.connected()
    expect(again.status()).toMatchObject({ active: { generation: 2 } })
  })

  const refused: [
    what: string,
    code: string,
    prepare: (world: World, foreign: Foreign) => Promise<object> | object,
  ][] = [
    ['is not there', 'HSM_KEY_NOT_FOUND', () => ({ key: 'pkcs11:object=nothing' })],
    ['has no name', 'AGENT_CONFIG_INVALID', () => ({ key: 'pkcs11:token=any' })],
    ['is named by no URI', 'HSM_URI_INVALID', () => ({ key: 'factory' })],
    ['has no certificate', 'AGENT_CONFIG_INVALID', (_world, foreign) => ({ key: uriOf(foreign) })],
    [
      'has a certificate file that is not there',
      'AGENT_CONFIG_INVALID',
      (_world, foreign) => ({ key: uriOf(foreign), certificate: { file: `${foreign.file}.gone` } }),
    ],
    [
      "has another key's certificate",
      'CERT_KEY_MISMATCH',
      async (world, foreign) => {
        const other = await foreignKey(world, 'other', 'P-256')
        return { key: uriOf(foreign), certificate: { file: other.file } }
      },
    ],
    [
      "has another key's certificate and no public key",
      'CERT_KEY_MISMATCH',
      async (world, foreign) => {
        const other = await foreignKey(world, 'refused-6', 'P-256')
        world.hsm.deleteObject('pubkey', foreign.id)
        return { key: uriOf(foreign), certificate: { file: other.file } }
      },
    ],
    [
      'has a certificate in another name',
      'CERT_COMMON_NAME_CHANGED',
      async (world, foreign) => {
        const { publicKey } = foreign
        const leaf = await world.root.issueLeaf({ commonName: 'somebody-else', publicKey })
        await writeFile(foreign.file, leaf.chain)
        return { key: uriOf(foreign), certificate: { file: foreign.file } }
      },
    ],
    [
      'is one of two with its name',
      'AGENT_CONFIG_INVALID',
      async (world, foreign) => {
        const { label } = foreign
        await foreignKey(world, 'other', 'P-256', { label })
        return { key: `pkcs11:object=${label}`, certificate: { file: foreign.file } }
      },
    ],
    [
      'shares its id with another',
      'HSM_KEY_EXISTS',
      async (world, foreign) => {
        const { id } = foreign
        await foreignKey(world, 'other', 'P-256', { id })
        return { key: `pkcs11:object=${foreign.label}`, certificate: { file: foreign.file } }
      },
    ],
    [
      'is of a kind that TLS here does not take',
      'HSM_KEY_TYPE_UNSUPPORTED',
      async (world) => {
        const other = await foreignKey(world, 'refused-9', 'P-521')
        return { key: uriOf(other), certificate: { file: other.file } }
      },
    ],
  ]

  it.each(refused.map((row, index) => [...row, index] as const))(
    'that %s is left alone (%s)',
    async (_what, code, prepare, index) => {
      const name = `refused-${index}`
      const world = await createEnrollingWorld(name)
      const foreign = await foreignKey(world, name, 'P-256')
      const adopt = (await prepare(world, foreign)) as { key: string }
      const before = world.hsm.pkcs11Tool('-O')
      await expect(DeviceAgent.start(world.agentOptions(name, { adopt }))).rejects.toMatchObject({ code })
      expect(world.hsm.pkcs11Tool('-O')).toBe(before)
    },
  )
})
