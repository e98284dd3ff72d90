import { afterEach, beforeEach, describe, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { dpsHostile, dpsMqttFace } from './faces/dps-mqtt.ts'
import { hubMqttFace } from './faces/hub-mqtt.ts'
import { fuzz, longestRun, type Face } from './fuzz.ts'
import { mqttFace } from './mqtt-face.ts'
import { opener } from './opener.ts'
import { hostileFrame, upgradeFace, WebSocketLine } from './websocket.ts'
import { Wire } from './wire.ts'

let cloud: SimulatedCloud
let root: TestAuthority

beforeEach(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'fuzz root' })
})
afterEach(() => cloud.close())

async function dpsOverTls(): Promise<Face> {
  const face = await dpsMqttFace(cloud, root, (device) => {
    const open = opener(cloud, 'localhost', device)
    return {
      open: async (_dice, onData) => Wire.open(open(), onData),
      hostile: (dice) => ({ bytes: dpsHostile(dice) }),
    }
  })
  return mqttFace(face)
}

async function dpsOverWebSocket(): Promise<Face> {
  const host = cloud.provisioningHost
  const face = await dpsMqttFace(cloud, root, (device) => {
    const open = opener(cloud, host, device)
    return {
      open: (dice, onData) => WebSocketLine.open(dice, host, open, onData),
      hostile: (dice) =>
        dice.chance(0.3) ? { bytes: dpsHostile(dice) } : { bytes: hostileFrame(dice), isRaw: true },
    }
  })
  const talk = mqttFace(face)
  const knock = upgradeFace(host, opener(cloud, host))
  return (dice) => (dice.chance(0.15) ? knock(dice) : talk(dice))
}

describe('whatever is sent over MQTT', () => {
  it.each<[string, () => Promise<Face>]>([
    ['DPS', dpsOverTls],
    ['DPS behind a WebSocket', dpsOverWebSocket],
    ['a hub', async () => mqttFace(await hubMqttFace(cloud, root))],
  ])(
    '%s answers what it understands, and changes nothing that it has not accepted',
    async (_what, face) => {
      await fuzz(cloud, await face())
    },
    longestRun,
  )
})
