import type { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createDevice, enrol } from '../../devices.ts'
import type { Dice } from '../dice.ts'
import { stateOf } from '../fuzz.ts'
import type { MqttFace } from '../mqtt-face.ts'
import { publish } from '../mqtt-packets.ts'
import { opener } from '../opener.ts'
import { strangeText } from '../strange.ts'
import { Wire } from '../wire.ts'

/** A hub as devices see it over MQTT: telemetry, twin, methods, and certificates. */
export async function hubMqttFace(cloud: SimulatedCloud, root: TestAuthority): Promise<MqttFace> {
  const hub = cloud.hub('hub-a')
  const device = await createDevice(root, 'hub-device')
  enrol(cloud, hub.hostName, device)
  hub.writeTwin(device.id, { tags: { site: 'a' }, desired: { interval: 7 } }, 'merge')
  const open = opener(cloud, hub.hostName, device)
  const encoded = (dice: Dice): string =>
    encodeURIComponent(Buffer.from(strangeText(dice)).toString()).slice(0, 300)
  const events = `devices/${device.id}/messages/events/`
  const known = /^\$iothub\/(?:twin\/res\/(?:200|204|400)|credentials\/res\/(?:200|202|4\d\d))\/\?\$rid=/

  return {
    open: async (_dice, onData) => Wire.open(open(), onData),
    who: {
      clientId: device.id,
      userName: `${hub.hostName}/${device.id}/?api-version=2025-08-01-preview`,
      clean: false,
    },
    filters: [
      '$iothub/twin/res/#',
      '$iothub/methods/POST/#',
      '$iothub/twin/PATCH/properties/desired/#',
      `devices/${device.id}/messages/devicebound/#`,
      '$iothub/credentials/res/#',
    ],
    templates: (dice) => [
      { topic: events, body: { temperature: 21.5 }, isAnswered: false },
      {
        topic: `${events}%24.mid=${encoded(dice)}&${encoded(dice)}=${encoded(dice)}&plain`,
        body: 'x',
        isAnswered: false,
      },
      { topic: `$iothub/twin/GET/?$rid=r${encoded(dice)}`, body: ' ', isAnswered: true },
      {
        topic: `$iothub/twin/PATCH/properties/reported/?$rid=r${encoded(dice)}`,
        body: { firmware: { version: '1.2', parts: [1, null] }, state: null, number: dice.number(9) },
        isAnswered: true,
      },
      {
        topic: `$iothub/methods/res/${dice.number(900)}/?$rid=${dice.number(50)}`,
        body: { ok: true },
        isAnswered: false,
      },
      {
        topic: `$iothub/credentials/POST/issueCertificate/?$rid=r-${dice.id()}`,
        body: { id: device.id, csr: 'MIIBAAAA', replace: '*' },
        isAnswered: true,
      },
      {
        topic: `$iothub/credentials/POST/issueCertificate/?$rid=${encoded(dice)}%20`,
        body: { id: device.id, csr: 'MIIBAAAA' },
        isAnswered: false,
      },
    ],
    hostile: (dice) => ({
      bytes: publish(
        dice.pick([
          `${events}a=%E0%A4%A`,
          `${events}${strangeText(dice)}`,
          'devices/other/messages/events/',
          '$iothub/twin/GET/?',
          '$iothub/twin/POST/?$rid=1',
          '$iothub/twin/PATCH/properties/desired/?$rid=1',
          '$iothub/methods/POST/x/?$rid=1',
          `$iothub/methods/res/${strangeText(dice)}/?$rid=1`,
          'hello/world',
        ]),
        '{}',
        dice.number(2),
      ),
    }),
    heard: ({ topic, payload }) => {
      if (!known.test(topic)) throw new Error(`An answer that is none: ${topic} ${payload}`)
      if (payload !== '') JSON.parse(payload)
    },
    state: () => {
      const { desired, tags, reported } = hub.twin(device.id)
      return stateOf({
        device: hub.registry
          .list()
          .map(({ connectionState: _1, connectionStateUpdatedTime: _2, lastActivityTime: _3, ...one }) => [
            one.deviceId,
            one,
          ]),
        written: [['twin', { desired, tags }]],
        reported: [['twin', reported]],
      })
    },
    explains: (key, heard) =>
      key === 'reported/twin' && heard.some(({ topic }) => topic.startsWith('$iothub/twin/res/204/')),
    tidy: () => hub.clearMessages(),
  }
}
