import { describe, expect, it } from 'vitest'
import { Credentials, type KeyBinding } from '../../src/agent/credentials.ts'
import { HubLink } from '../../src/agent/hub-link.ts'
import type { DeviceId, KeyId, Pem } from '../../src/brands.ts'
import { LeafkeeperError } from '../../src/errors.ts'
import type { KeyStore, StoredGeneration } from '../../src/hsm/key-store.ts'
import type { HubConnection, HubTransport, PreparedHubConnection } from '../../src/hub/hub-transport.ts'
import { Outbox } from '../../src/hub/outbox.ts'
import { hubA, hubB } from '../support/machine.ts'

/** A connection that the test ends. */
class FakeConnection implements HubConnection {
  readonly sent: string[] = []
  closed = false
  end: (error?: LeafkeeperError) => void = () => undefined
  readonly ended = new Promise<LeafkeeperError | undefined>((resolve) => {
    this.end = resolve
  })

  send(message: { readonly messageId: string }): Promise<void> {
    this.sent.push(message.messageId)
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.closed = true
    this.end()
    return Promise.resolve()
  }
}

/** A TLS connection on which the test decides how CONNECT goes. */
class FakePrepared implements PreparedHubConnection {
  readonly connection = new FakeConnection()
  discarded = false
  accept: () => void = () => undefined
  refuse: (error: LeafkeeperError) => void = () => undefined
  readonly #answer = new Promise<HubConnection>((resolve, reject) => {
    this.accept = () => {
      resolve(this.connection)
    }
    this.refuse = reject
  })

  connect(): Promise<HubConnection> {
    return this.#answer
  }

  discard(): void {
    this.discarded = true
  }
}

const chain = 'chain' as Pem
const stored = (number: number): StoredGeneration => ({
  keyId: `0${number}` as KeyId,
  number,
  keyType: 'EC-P256',
  publicKey: new Uint8Array(),
  hasPrivateKey: true,
  chain,
})

interface Harness {
  readonly link: HubLink
  readonly outbox: Outbox
  readonly prepared: FakePrepared[]
  readonly ended: number[]
  failPrepare: LeafkeeperError | undefined
}

function harness(): Harness {
  const prepared: FakePrepared[] = []
  const ended: number[] = []
  const outbox = new Outbox()
  const keyStore = { keyUri: (keyId: KeyId) => `pkcs11:id=${keyId}` } as Partial<KeyStore> as KeyStore
  const binding = { forget: () => undefined } as Partial<KeyBinding> as KeyBinding
  const credentials = new Credentials(keyStore, binding, 'gateway-7' as DeviceId)
  credentials.remember(stored(1))
  credentials.remember(stored(2))
  const hub: HubTransport = {
    prepare: () => {
      if (result.failPrepare !== undefined) return Promise.reject(result.failPrepare)
      const one = new FakePrepared()
      prepared.push(one)
      return Promise.resolve(one)
    },
  }
  const link = new HubLink({
    hub,
    outbox,
    credentials,
    onMethod: () => ({ status: 200, payload: null }),
    ended: (operation) => void ended.push(operation),
  })
  const result: Harness = { link, outbox, prepared, ended, failPrepare: undefined }
  return result
}

const { signal } = new AbortController()
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Begins to connect, and gives the TLS connection on which that happens. */
async function begin(
  h: Harness,
  operation: number,
  generation = 1,
  hub = hubA,
): Promise<[Promise<void>, FakePrepared]> {
  const connecting = h.link.connect(operation, generation, hub, signal)
  connecting.catch(() => undefined)
  await nextTurn()
  const last = h.prepared.at(-1)
  if (last === undefined) throw new Error('nothing was prepared')
  return [connecting, last]
}

async function connected(h: Harness, operation: number, generation = 1, hub = hubA): Promise<FakeConnection> {
  const [connecting, prepared] = await begin(h, operation, generation, hub)
  prepared.accept()
  await connecting
  return prepared.connection
}

describe('the link to the hub', () => {
  it('sends on the newest connection, and tells of the old one only after the takeover', async () => {
    const h = harness()
    const old = await connected(h, 1)
    const [connecting, prepared] = await begin(h, 2, 2)
    old.end(new LeafkeeperError('HUB_CONNECTION_LOST'))
    await nextTurn()
    expect(h.ended).toEqual([])
    prepared.accept()
    await connecting
    await nextTurn()
    expect(h.ended).toEqual([1])
    await h.outbox.send({ body: 'x', messageId: 'm' })
    expect(prepared.connection.sent).toEqual(['m'])
  })

  it('goes on with the old connection when the hub refuses the new one', async () => {
    const h = harness()
    const old = await connected(h, 1)
    const [connecting, prepared] = await begin(h, 2, 2)
    prepared.refuse(new LeafkeeperError('HUB_UNAUTHORIZED'))
    await expect(connecting).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
    await h.outbox.send({ body: 'x', messageId: 'm' })
    expect(old.sent).toEqual(['m'])
    expect(h.ended).toEqual([])
  })

  it('sends on the connection that is left when the newest one is closed', async () => {
    const h = harness()
    const first = await connected(h, 1, 1, hubA)
    await connected(h, 2, 1, hubB)
    await h.link.close(2)
    await h.outbox.send({ body: 'x', messageId: 'm' })
    expect(first.sent).toEqual(['m'])
    // It was closed on purpose, so nobody is told that it ended.
    await nextTurn()
    expect(h.ended).toEqual([])
  })

  it('counts the time of failed attempts into the blackout', async () => {
    const h = harness()
    await connected(h, 1)
    expect(h.link.lastBlackoutMs).toBeNull()
    const [failing, first] = await begin(h, 2, 2)
    const begun = performance.now()
    while (performance.now() - begun < 20) await nextTurn()
    first.refuse(new LeafkeeperError('HUB_UNAUTHORIZED'))
    await failing.catch(() => undefined)
    await connected(h, 3, 2)
    expect(h.link.lastBlackoutMs).toBeGreaterThanOrEqual(20)
  })

  it('uses what was opened ahead of time, and opens anew when that has been closed meanwhile', async () => {
    const h = harness()
    h.link.prepare(2, hubA, signal)
    await nextTurn()
    const connecting = h.link.connect(1, 2, hubA, signal)
    await nextTurn()
    expect(h.prepared).toHaveLength(1)
    h.prepared[0]?.refuse(new LeafkeeperError('NETWORK_UNREACHABLE'))
    await nextTurn()
    await nextTurn()
    h.prepared[1]?.accept()
    await connecting
    expect(h.prepared).toHaveLength(2)
  })

  it('does not try a second time what was refused', async () => {
    const h = harness()
    h.link.prepare(2, hubA, signal)
    await nextTurn()
    const connecting = h.link.connect(1, 2, hubA, signal)
    await nextTurn()
    h.prepared[0]?.refuse(new LeafkeeperError('HUB_UNAUTHORIZED'))
    await expect(connecting).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
    expect(h.prepared).toHaveLength(1)
  })

  it('closes what was opened ahead of time and is not wanted', async () => {
    const h = harness()
    h.link.prepare(2, hubA, signal)
    await nextTurn()
    h.link.discardPrepared()
    await nextTurn()
    expect(h.prepared[0]?.discarded).toBe(true)
  })

  it('closes everything, and waits until it is closed', async () => {
    const h = harness()
    const connection = await connected(h, 1)
    await h.link.closeAll()
    expect(connection.closed).toBe(true)
  })

  it('closes a connection that comes after everything was given up', async () => {
    const h = harness()
    const abort = new AbortController()
    const connecting = h.link.connect(1, 1, hubA, abort.signal)
    await nextTurn()
    abort.abort(new LeafkeeperError('AGENT_STOPPED'))
    h.prepared[0]?.accept()
    await expect(connecting).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
    expect(h.prepared[0]?.connection.closed).toBe(true)
  })
})
