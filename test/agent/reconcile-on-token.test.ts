import { X509Certificate } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DeviceAgent } from 'leafkeeper'
import type { IssuedLeaf } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import type { KeyId, Pem } from '../../src/brands.ts'
import { createCertificateRequest } from '../../src/certificate/request.ts'
import type { KeyStore } from '../../src/hsm/key-store.ts'
import { keyIdOf, objectLabel } from '../../src/hsm/object-name.ts'
import { objectsOf } from '../support/faulty-token.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createEnrollingWorld, hubThumbprint, next, quickPolicy, type World } from '../support/world.ts'

// What is decided in each case: reconcile.test.ts. Here the token, the journal, DPS and the hub are real.

/** The objects of generations that are complete, in the order in which they are looked at. */
const whole = (...numbers: number[]): string[] =>
  ['Certificate', 'Private Key', 'Public Key'].flatMap((kind) => numbers.map((number) => `${kind} ${number}`))

/** A device that is switched off, and what somebody may do to its token meanwhile. */
class SleepingDevice {
  readonly world: World
  readonly name: string
  readonly #stateFolder: string

  private constructor(world: World, name: string, stateFolder: string) {
    this.world = world
    this.name = name
    this.#stateFolder = stateFolder
  }

  /** With its first generation in use. */
  static async bootstrapped(name: string): Promise<SleepingDevice> {
    const device = new SleepingDevice(await createEnrollingWorld(name), name, await temporaryFolder())
    const agent = await device.wake()
    await agent.connected()
    await agent.stop()
    return device
  }

  /** Starts the agent. It never destroys anything while it knows of no generation that a hub has accepted. */
  async wake(): Promise<DeviceAgent> {
    const { name, world } = this
    const agent = await world.startAgent(name, { stateFolder: this.#stateFolder, policy: quickPolicy })
    agent.on('retired', () => expect(agent.state.active).not.toBeNull())
    return agent
  }

  async loseJournal(): Promise<void> {
    await rm(this.#stateFolder, { recursive: true })
  }

  keyId(number: number): KeyId {
    return keyIdOf(this.name, number)
  }

  get objects(): string[] {
    return objectsOf(this.world, this.name)
  }

  /** Makes a key pair. */
  async makeKey(number: number): Promise<void> {
    await this.#withKeys((keys) => keys.generate(number, 'EC-P256'))
  }

  /** Makes a generation that is complete. Its leaf is not enrolled yet. */
  async makeGeneration(number: number): Promise<IssuedLeaf> {
    return this.#withKeys(async (keys) => {
      const { keyId } = await keys.generate(number, 'EC-P256')
      const signer = await keys.signer(keyId)
      const csr = await createCertificateRequest({ signer, subject: { commonName: this.name } })
      const leaf = await this.world.root.issueLeaf({ csr })
      await keys.storeCertificate(keyId, leaf.chain as Pem)
      return leaf
    })
  }

  delete(number: number, ...types: ('privkey' | 'pubkey' | 'cert')[]): void {
    for (const type of types) this.world.hsm.deleteObject(type, this.keyId(number))
  }

  /** Puts a certificate on the token, as another tool does. */
  async putCertificate(
    { chain }: IssuedLeaf,
    number: number,
    id: string = this.keyId(number),
  ): Promise<void> {
    const file = join(await temporaryFolder(), 'certificate.der')
    await writeFile(file, new X509Certificate(chain).raw)
    const label = objectLabel(this.name, number)
    this.world.hsm.pkcs11Tool('--write-object', file, '--type', 'cert', '--id', id, '--label', label)
  }

  async #withKeys<Result>(work: (keys: KeyStore) => Promise<Result>): Promise<Result> {
    const token = await this.world.hsm.open()
    try {
      return await work(token.keyStore(this.name))
    } finally {
      await token.close()
    }
  }
}

/** The device is connected as this generation, which its hub knows, and nothing of its past is being destroyed. */
async function settledAs(agent: DeviceAgent, { world }: SleepingDevice, number: number): Promise<void> {
  await agent.connected()
  const isSettled = (): boolean =>
    agent.state.active === number &&
    agent.state.destruction === null &&
    agent.state.generations.every((g) => g.retireAt === null || g.retireAt > Date.now())
  while (!isSettled()) await Promise.race([next(agent, 'transition'), next(agent, 'retired')])
  expect(hubThumbprint(world.cloud, agent)).toBe(agent.status().active?.thumbprint)
}

let devices = 0
const newDevice = (): Promise<SleepingDevice> => SleepingDevice.bootstrapped(`reconciled-${(devices += 1)}`)

type Disturb = (device: SleepingDevice) => Promise<void> | void
type Row = [found: string, disturb: Disturb, active: number, left: string[]]

describe('an agent that starts with its journal, and on its token', () => {
  const rows: Row[] = [
    ['a key without certificate', (device) => device.makeKey(7), 1, whole(1)],
    [
      'a certificate without key',
      async (device) => {
        await device.makeGeneration(7)
        device.delete(7, 'privkey', 'pubkey')
      },
      1,
      whole(1),
    ],
    [
      'a certificate with the public key alone',
      async (device) => {
        await device.makeGeneration(7)
        device.delete(7, 'privkey')
      },
      1,
      whole(1),
    ],
    [
      'a key beside the certificate of another one',
      async (device) => {
        await device.makeKey(7)
        await device.putCertificate(device.world.leaf(0), 7)
      },
      1,
      whole(1),
    ],
    [
      'a complete generation that was made by a life which the journal has forgotten',
      async (device) => {
        device.world.enroll(device.name, device.world.leaf(0), await device.makeGeneration(7))
      },
      7,
      whole(1, 7),
    ],
    [
      'the active key with the certificate of another one beside its own',
      async (device) => {
        const other = await device.makeGeneration(7)
        device.delete(7, 'privkey', 'pubkey', 'cert')
        await device.putCertificate(other, 1)
      },
      1,
      ['Certificate 1', ...whole(1)],
    ],
    [
      'the certificate of the active key under another CKA_ID',
      async (device) => {
        device.delete(1, 'cert')
        await device.putCertificate(device.world.leaf(0), 1, '0a0b0c')
      },
      1,
      whole(1),
    ],
    [
      'another key under the label of the active one',
      ({ world, name }) => {
        const label = objectLabel(name, 1)
        world.hsm.pkcs11Tool(
          '--keypairgen',
          '--key-type',
          'EC:prime256v1',
          '--id',
          '0a0b0c',
          '--label',
          label,
        )
      },
      1,
      ['Certificate 1', 'Private Key 1', 'Private Key 1', 'Public Key 1', 'Public Key 1'],
    ],
    [
      'the certificate of the active key a second time, under another CKA_ID',
      (device) => device.putCertificate(device.world.leaf(0), 1, '0a0b0c'),
      1,
      ['Certificate 1', ...whole(1)],
    ],
  ]

  it.each(rows)('%s', async (_found, disturb, active, left) => {
    const device = await newDevice()
    await disturb(device)
    const agent = await device.wake()
    await settledAs(agent, device, active)
    expect(device.objects).toEqual(left)
  })
})

describe('an agent that has lost its journal, and finds on its token', () => {
  const rows: Row[] = [
    ['its only generation', () => undefined, 1, whole(1)],
    ['a key without certificate beside it', (device) => device.makeKey(7), 1, whole(1)],
    [
      'two complete generations, of which DPS accepts the newer',
      async (device) => {
        device.world.enroll(device.name, await device.makeGeneration(2))
      },
      2,
      // The older one may have been in use until now.
      whole(1, 2),
    ],
    [
      'a key with its certificate under another CKA_ID',
      async (device) => {
        device.delete(1, 'cert')
        await device.putCertificate(device.world.leaf(0), 1, '0a0b0c')
      },
      1,
      whole(1),
    ],
  ]

  it.each(rows)('%s', async (_found, disturb, active, left) => {
    const device = await newDevice()
    await disturb(device)
    await device.loseJournal()
    const agent = await device.wake()
    await settledAs(agent, device, active)
    expect(agent.state.roll.phase).toBe('idle')
    expect(device.objects).toEqual(left)
  })

  it('two complete generations, of which DPS accepts the older: the newer is staged, and used once it is enrolled', async () => {
    const device = await newDevice()
    const staged = await device.makeGeneration(2)
    await device.loseJournal()
    const agent = await device.wake()
    await settledAs(agent, device, 1)
    expect(agent.state.roll).toMatchObject({ phase: 'staged', plan: { generation: 2 } })
    expect(device.objects).toEqual(whole(1, 2))

    device.world.enroll(device.name, device.world.leaf(0), staged)
    agent.reprovision()
    await settledAs(agent, device, 2)
    expect(agent.status().active?.thumbprint).toBe(staged.thumbprint)
  })

  it('generations that DPS refuses, all of them: it destroys none, and uses the one that is enrolled again', async () => {
    const device = await newDevice()
    await device.makeGeneration(2)
    await device.makeKey(3)
    const objects = device.objects
    const gone = await device.makeGeneration(4)
    device.delete(4, 'privkey', 'pubkey', 'cert')
    device.world.enroll(device.name, gone)
    await device.loseJournal()
    const agent = await device.wake()
    while (agent.state.connection.phase !== 'refused') await next(agent, 'transition')
    expect(device.objects).toEqual(objects)

    device.world.enroll(device.name, device.world.leaf(0))
    agent.reprovision()
    await settledAs(agent, device, 1)
    expect(device.objects).toEqual(whole(1, 2))
  })

  const halves: [half: string, missing: Parameters<SleepingDevice['delete']>[1][]][] = [
    ['a key whose certificate is gone', ['cert']],
    ['a key whose public key is gone', ['pubkey']],
    ['a certificate whose key is gone', ['privkey']],
  ]
  it.each(halves)('%s: it stays until a hub has accepted a new generation', async (_half, missing) => {
    const device = await newDevice()
    device.delete(1, ...missing)
    const half = device.objects
    await device.loseJournal()
    const enrolled = device.world.issued.length
    const { issue } = device.world
    const asked: string[][] = []
    device.world.issue = async (request) => {
      asked.push(device.objects)
      return issue(request)
    }
    const agent = await device.wake()
    await settledAs(agent, device, 2)
    expect(asked).toEqual([[...half, 'Private Key 2', 'Public Key 2'].sort()])
    expect(device.world.issued).toHaveLength(enrolled + 1)
    expect(device.objects).toEqual(whole(2))
  })
})

describe('an agent that starts again with a staged generation', () => {
  const journals: [what: string, forget: Disturb][] = [
    ['and its journal', () => undefined],
    ['and without its journal', (device) => device.loseJournal()],
  ]
  it.each(journals)('%s, keeps both until the staged one is enrolled', async (_what, forget) => {
    const device = await newDevice()
    const { world, name } = device
    const first = world.leaf(0)
    // The new leaf is issued, and nobody tells DPS.
    world.issue = async ({ csr }) => {
      const leaf = await world.root.issueLeaf({ csr })
      world.issued.push(leaf)
      return leaf.chain
    }
    const before = await device.wake()
    await before.connected()
    before.beginRoll({})
    while (before.state.roll.phase !== 'staged' || before.state.roll.code === null)
      await next(before, 'transition')
    await before.stop()

    await forget(device)
    const agent = await device.wake()
    await settledAs(agent, device, 1)
    expect(agent.status().active?.thumbprint).toBe(first.thumbprint)
    while (agent.state.roll.phase !== 'staged' || agent.state.roll.code === null)
      await next(agent, 'transition')
    expect(device.objects).toEqual(whole(1, 2))

    world.enroll(name, first, world.leaf(1))
    agent.reprovision()
    await settledAs(agent, device, 2)
    expect(agent.status().active?.thumbprint).toBe(world.leaf(1).thumbprint)
    // The old one stays for the overlap.
    expect(device.objects).toEqual(whole(1, 2))
  })
})
