import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority, type SimulatedHub } from 'leafkeeper-sim'
import { createDevice, enrol, hubUserName, openTls, type Device } from './devices.ts'
import {
  connect,
  disconnect,
  pingRequest,
  publish,
  ServerPackets,
  subscribe,
  type Connect,
  type ServerPacket,
} from './fuzz/mqtt-packets.ts'
import { Wire } from './fuzz/wire.ts'

let cloud: SimulatedCloud
let hub: SimulatedHub
let device: Device
let who: Connect

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  hub = cloud.hub('hub-a')
  const root = await TestAuthority.createRoot({ commonName: 'packets' })
  device = await createDevice(root, 'packets-1')
  enrol(cloud, hub.hostName, device)
  who = { clientId: device.id, userName: hubUserName(hub.hostName, device.id) }
})
afterAll(() => cloud.close())

/** Sends packets in one piece behind a CONNECT that is answered, and gives all that came until the one to wait for. */
async function tell(
  until: ServerPacket['type'],
  ...packets: readonly Buffer[]
): Promise<readonly ServerPacket[]> {
  const heard = new ServerPackets()
  const wire = await Wire.open(openTls(cloud, hub.hostName, device), (chunk) => heard.push(chunk))
  wire.send(connect(who))
  await wire.until(() => heard.list.length > 0)
  wire.send(Buffer.concat(packets))
  await wire.until(() => heard.list.some(({ type }) => type === until))
  wire.end()
  await wire.closed()
  return heard.list
}

describe('a hub', () => {
  it('takes a subscription again with another QoS', async () => {
    const filter = `devices/${device.id}/messages/devicebound/#`
    const heard = await tell('pingresp', subscribe([filter], 0), subscribe([filter], 1), pingRequest)
    expect(heard.filter(({ type }) => type === 'suback')).toHaveLength(2)
  })

  it('hears nothing of what comes behind a DISCONNECT in the same piece', async () => {
    await tell('puback', disconnect, publish(`devices/${device.id}/messages/events/`, 'too late', 1))
    expect(hub.messages).toEqual([])
  })

  it.each(['1', 'a%2Bb%23', '%24rid=2', 'one%20more'])(
    'answers with the request id %s as it was sent',
    async (requestId) => {
      const request = publish(`$iothub/twin/GET/?x=y&$rid=${requestId}&z`, ' ')
      const heard = await tell('publish', subscribe(['$iothub/twin/res/#']), request)
      const topics = heard.flatMap((packet) => (packet.type === 'publish' ? [packet.topic] : []))
      expect(topics).toEqual([`$iothub/twin/res/200/?$rid=${requestId}`])
    },
  )

  it('ends the connection when a packet announces more than any can have', async () => {
    // 256 MiB, of which one byte comes.
    const heard = await tell('pingresp', Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f, 0x00]), pingRequest)
    expect(heard.map(({ type }) => type)).toEqual(['connack'])
  })

  it.each(['1999', 'soon', ''])('refuses the api-version "%s"', async (version) => {
    const heard = new ServerPackets()
    const wire = await Wire.open(openTls(cloud, hub.hostName, device), (chunk) => heard.push(chunk))
    wire.send(connect({ ...who, userName: `${hub.hostName}/${device.id}/?api-version=${version}` }))
    await wire.closed()
    expect(heard.list).toEqual([{ type: 'connack', code: 5 }])
  })

  it.each(['a\u0000b', 'a\ud800', 'a\u0085'])('refuses the method name %j', async (methodName) => {
    await expect(hub.invokeMethod(device.id, { methodName })).rejects.toMatchObject({ status: 400 })
  })

  it('is asked how many connections are open', async () => {
    const before = cloud.openConnections
    const wire = await Wire.open(openTls(cloud, hub.hostName, device), () => undefined)
    expect(cloud.openConnections).toBe(before + 1)
    const ended = cloud.waitFor('connectionEnded')
    wire.reset()
    expect(await ended).toEqual({ open: before })
    expect(cloud.openConnections).toBe(before)
  })
})
