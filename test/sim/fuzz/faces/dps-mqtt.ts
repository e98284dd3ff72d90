import type { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createDevice, dpsUserName, type Device } from '../../devices.ts'
import type { Dice } from '../dice.ts'
import type { MqttFace } from '../mqtt-face.ts'
import { isProvisioningRefusal } from '../http-face.ts'
import { publish, subscribe } from '../mqtt-packets.ts'
import { provisioningState } from '../provisioning-state.ts'
import { strangeText } from '../strange.ts'

/** DPS as devices see it over MQTT, on whatever carries it. */
export async function dpsMqttFace(
  cloud: SimulatedCloud,
  root: TestAuthority,
  carrier: (device: Device) => Pick<MqttFace, 'open' | 'hostile'>,
): Promise<MqttFace> {
  const device = await createDevice(root, 'mqtt-device')
  cloud.dps.groups.put({ enrollmentGroupId: 'mqtt-group', attestation: { primary: root.certificate } })
  let operation = 'none'
  const requestId = (dice: Dice): string => `r${encodeURIComponent(strange(dice)).slice(0, 300)}`

  return {
    ...carrier(device),
    who: { clientId: device.id, userName: dpsUserName(cloud, device.id) },
    filters: ['$dps/registrations/res/#'],
    templates: (dice) => [
      {
        topic: `$dps/registrations/PUT/iotdps-register/?$rid=${requestId(dice)}`,
        body: { registrationId: device.id, payload: { model: 'a', parts: [1, null] } },
        isAnswered: true,
      },
      {
        topic: `$dps/registrations/GET/iotdps-get-operationstatus/?$rid=${requestId(dice)}&operationId=${operation}`,
        body: ' ',
        isAnswered: true,
      },
      {
        topic: `$dps/registrations/GET/iotdps-get-operationstatus/?$rid=${requestId(dice)}&operationId=${requestId(dice)}`,
        body: ' ',
        isAnswered: true,
      },
    ],
    heard: ({ topic, payload }) => {
      const [, status = ''] =
        /^\$dps\/registrations\/res\/(\d{3})\/\?\$rid=r[^&]*(?:&retry-after=\d+)?$/.exec(topic) ?? []
      if (status === '' || status >= '500') throw new Error(`An answer that is none: ${topic} ${payload}`)
      const body = JSON.parse(payload) as Readonly<Record<string, unknown>>
      if (status >= '400' && !isProvisioningRefusal(body)) throw new Error(`No refusal of DPS: ${payload}`)
      if (typeof body['operationId'] === 'string') operation = body['operationId']
    },
    state: () => provisioningState(cloud),
    explains: (key, heard) =>
      ['registration', 'device'].some((kind) => key === `${kind}/${device.id}`) &&
      heard.some(({ topic }) => topic.startsWith('$dps/registrations/res/202/')),
  }
}

/** What DPS ends a connection for. */
export function dpsHostile(dice: Dice): Buffer {
  const topic = dice.pick([
    '$dps/registrations/PUT/iotdps-register/',
    '$dps/registrations/PUT/iotdps-register/?$rid=',
    '$dps/registrations/PUT/else/?$rid=1',
    '$dps/registrations/GET/iotdps-register/?$rid=1',
    '$dps/registrations/res/200/?$rid=1',
    `$dps/registrations/${strange(dice)}`,
    'devices/mqtt-device/messages/events/',
  ])
  return dice.chance(0.8) ? publish(topic, '{}', dice.number(2)) : subscribe([topic])
}

function strange(dice: Dice): string {
  // Through a buffer, since what is no Unicode cannot be encoded.
  return Buffer.from(strangeText(dice)).toString()
}
