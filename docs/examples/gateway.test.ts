// A template: copy it into your test suite. It wants Debian's softhsm2 and libengine-pkcs11-openssl, and no cloud.
import { test } from 'leafkeeper-sim/testing'

test('a gateway rolls its certificate and loses no message', async ({ cloud, device, expect }) => {
  const gateway = await device('gateway-7')
  await gateway.connected()

  await gateway.send({ body: '{"temperature":21.5}' })
  const { oldThumbprint, newThumbprint } = await gateway.roll()
  await gateway.send({ body: '{"temperature":21.6}' })

  expect(newThumbprint).not.toBe(oldThumbprint)
  const received = cloud.hubs.flatMap(({ messages }) => messages.map(({ body }) => body.toString()))
  expect(received).toEqual(['{"temperature":21.5}', '{"temperature":21.6}'])
})

test('a gateway comes back when its hub has forgotten it', async ({ cloud, device, expect }) => {
  const gateway = await device('gateway-8')
  await gateway.connected()
  const back = cloud.waitFor('deviceConnected', ({ deviceId }) => deviceId === 'gateway-8')

  const assigned = gateway.status().assignment?.hub
  cloud.hubs.find(({ hostName }) => hostName === assigned)?.registry.delete('gateway-8')

  await expect(back).resolves.toMatchObject({ deviceId: 'gateway-8' })
})
