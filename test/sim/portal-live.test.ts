import { request, type ClientRequest } from 'node:http'
import { createInterface } from 'node:readline'
import { TestAuthority } from 'leafkeeper-sim'
import { Message } from 'azure-iot-device'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createDevice, deviceClient, register } from './devices.ts'
import { openPortal, Visitor } from './portal-visitor.ts'

/** A page that somebody has open, as its script sees it. */
class OpenPage {
  readonly #events: AsyncIterator<readonly [name: string, data: string], undefined>
  readonly #parts = new Map<string, string>()

  constructor(origin: string, path: string, { cookie }: Visitor) {
    const sent = request(`${origin}${path}`, { headers: { cookie, accept: 'text/event-stream' } })
    sent.on('error', () => undefined)
    onTestFinished(() => void sent.destroy())
    this.#events = eventsOf(sent)
  }

  /** What a part shows as soon as this is in it. */
  async shows(id: string, what: RegExp): Promise<string> {
    for (;;) {
      const present = this.#parts.get(id)
      if (present !== undefined && what.test(present)) return present
      if ((await this.#next()) !== 'part') throw new Error(`The page ended without ${String(what)} in ${id}.`)
    }
  }

  /** The name of the event that comes after all parts; `undefined` when the stream has ended without one. */
  async end(): Promise<string | undefined> {
    for (;;) {
      const name = await this.#next()
      if (name !== 'part') return name
    }
  }

  async #next(): Promise<string | undefined> {
    const event = await this.#events.next()
    if (event.done === true) return undefined
    const [name, data] = event.value
    if (name !== 'part') return name
    const { id, html } = JSON.parse(data) as { readonly id: string; readonly html: string }
    this.#parts.set(id, html)
    return name
  }
}

async function* eventsOf(
  sent: ClientRequest,
): AsyncGenerator<readonly [name: string, data: string], undefined> {
  const response = await new Promise<NodeJS.ReadableStream>((resolve) => sent.on('response', resolve).end())
  let name = ''
  for await (const line of createInterface({ input: response })) {
    if (line.startsWith('event: ')) name = line.slice(7)
    if (line.startsWith('data: ')) yield [name, line.slice(6)]
  }
  return undefined
}

describe('a page that is open', () => {
  it('sends what it shows at first, and what has changed from then on', async () => {
    const { cloud, portal, origin } = await openPortal()
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const device = await createDevice(root, 'device-1')
    const page = new OpenPage(origin, '/devices', await Visitor.enter(portal))
    await page.shows('live-devices', /No hub has a device yet/)

    cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: device.certificate } })
    await register(cloud, device)
    const listed = await page.shows('live-devices', /device-1/)
    expect(listed).toContain(device.thumbprint)
    expect(listed).toContain('Disconnected')
    const client = await deviceClient(cloud, 'hub-a.azure-devices.net', device)
    onTestFinished(() => void client.close().catch(() => undefined))
    await client.open()
    await page.shows('live-devices', /Connected<\/span>/)
  })

  it('tells the life of a device: registrations, generations, a roll, messages, methods', async () => {
    const { cloud, portal, origin } = await openPortal()
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const [old, fresh] = [await createDevice(root, 'device-1'), await createDevice(root, 'device-1')]
    cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: old.certificate } })
    await register(cloud, old)
    const visitor = await Visitor.enter(portal)
    const page = new OpenPage(origin, '/devices/device-1', visitor)
    await page.shows('live-log', /DPS has assigned generation 1 to hub-a/)

    const [first, second] = await Promise.all(
      [old, fresh].map((device) => deviceClient(cloud, 'hub-a.azure-devices.net', device)),
    )
    if (first === undefined || second === undefined) throw new Error('no client')
    onTestFinished(() => void first.close().catch(() => undefined))
    onTestFinished(() => void second.close().catch(() => undefined))
    await first.open()
    await page.shows('live-chart', />generation 1</)
    for (const text of ['one', 'two', 'three']) await first.sendEvent(new Message(text))
    await page.shows('live-log', />3 messages</)

    await expect(register(cloud, fresh)).rejects.toThrow()
    await page.shows('live-log', /DPS has refused generation 2: 401002/)
    cloud.dps.enrollments.put({
      registrationId: 'device-1',
      attestation: { primary: old.certificate, secondary: fresh.certificate },
    })
    await register(cloud, fresh)
    await second.open()
    await page.shows('live-log', /Rolled to generation 2.*took over from generation 1/s)
    expect(await page.shows('live-generations', new RegExp(fresh.thumbprint))).toContain('now')

    await cloud
      .hub('hub-a')
      .invokeMethod('device-1', { methodName: 'no-listener' })
      .catch(() => undefined)
    await page.shows('live-log', /Direct method no-listener: 404103/)
    const { text } = await visitor.see('/devices/device-1')
    expect(text).toMatch(
      /aria-label="Since [\d:]{8}: now connected with generation 2; 1 rolls, 3 registrations, 3 messages\."/,
    )
  })

  it('ends with what it shows, and with the portal', async () => {
    const { cloud, portal, origin } = await openPortal()
    cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { type: 'symmetricKey' } })
    const visitor = await Visitor.enter(portal)
    const page = new OpenPage(origin, '/enrollments/individual/device-1', visitor)
    await page.shows('live-entry', /Symmetric key/)
    cloud.dps.enrollments.delete('device-1')
    const others = new OpenPage(origin, '/devices', visitor)
    await others.shows('live-devices', /./)
    expect(await page.end()).toBe('gone')
    expect(await page.end()).toBeUndefined()
    await portal.close()
    await expect(others.end()).rejects.toThrow('aborted')
  })
})
