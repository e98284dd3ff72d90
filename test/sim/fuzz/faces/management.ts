import type { SimulatedCloud } from 'leafkeeper-sim'
import { TestAuthority } from 'leafkeeper-sim'
import { createDevice } from '../../devices.ts'
import type { Dice } from '../dice.ts'
import { stateOf } from '../fuzz.ts'
import { isManagementRefusal, type HttpFace } from '../http-face.ts'
import type { HttpTemplate } from '../http-input.ts'

const names = ['kept-1', 'kept-2', 'fuzz-1', 'fuzz-2', 'fuzz-3', 'fuzz-4']

/** The certificates of DPS and of a hub, as Azure Resource Manager has them. */
export async function managementFace(cloud: SimulatedCloud): Promise<HttpFace> {
  const provider = '/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices'
  const owners = [
    {
      root: `${provider}/provisioningServices/leafkeeper/certificates`,
      store: cloud.dps.certificates,
      version: '2022-12-12',
    },
    {
      root: `${provider}/IotHubs/hub-a/certificates`,
      store: cloud.hub('hub-a').certificates,
      version: '2023-06-30',
    },
  ]
  const authorities = await Promise.all(
    names.map((name) => TestAuthority.createRoot({ commonName: `managed ${name}` })),
  )
  const leaves = await Promise.all(authorities.map((authority) => createDevice(authority, 'proof')))
  const request = (dice: Dice): HttpTemplate => {
    const name = dice.pick(names)
    const { root, store, version } = dice.pick(owners)
    const query = { 'api-version': version }
    const path = `${root}/${name}`
    const ifMatch = dice.pick(['*', store.get(name)?.etag ?? '*'])
    const { certificate } = dice.pick(authorities)
    const encoded = dice.chance(0.5) ? certificate : Buffer.from(certificate).toString('base64')
    switch (dice.number(8)) {
      case 0:
        return { method: 'GET', path: root, query }
      case 1:
        return { method: 'GET', path, query }
      case 2:
        return { method: 'DELETE', path, query, headers: { 'if-match': ifMatch } }
      case 3:
        return {
          method: 'POST',
          path: `${path}/generateVerificationCode`,
          query,
          headers: { 'if-match': ifMatch },
        }
      case 4:
        return {
          method: 'POST',
          path: `${path}/verify`,
          query,
          headers: { 'if-match': ifMatch },
          body: { certificate: dice.pick(leaves).certificate },
        }
      case 5:
        return {
          method: 'PUT',
          path,
          query,
          headers: { 'if-match': ifMatch },
          body: { certificate: encoded },
        }
      default:
        return {
          method: 'PUT',
          path,
          query,
          body: { properties: { certificate: encoded, isVerified: dice.chance(0.5) } },
        }
    }
  }
  return {
    host: 'management.azure.com',
    isRefusal: isManagementRefusal,
    template: (dice) => {
      const { headers, ...rest } = request(dice)
      const authorization = `Bearer ${cloud.managementToken}`
      return { ...rest, headers: { authorization, ...headers } }
    },
    state: () =>
      stateOf(
        Object.fromEntries(
          owners.map(({ root, store }) => [
            root.replaceAll('/', ' '),
            store.list().map((one) => [one.name, one] as const),
          ]),
        ),
      ),
  }
}
