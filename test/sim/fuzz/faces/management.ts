import type { SimulatedCloud } from 'leafkeeper-sim'
import { TestAuthority } from 'leafkeeper-sim'
import { createDevice } from '../../devices.ts'
import type { Dice } from '../dice.ts'
import { stateOf } from '../fuzz.ts'
import { isManagementRefusal, type HttpFace } from '../http-face.ts'
import type { HttpTemplate } from '../http-input.ts'

const names = ['kept-1', 'kept-2', 'fuzz-1', 'fuzz-2', 'fuzz-3', 'fuzz-4']

/** The certificates of DPS, as Azure Resource Manager has them. */
export async function managementFace(cloud: SimulatedCloud): Promise<HttpFace> {
  const { certificates } = cloud.dps
  const authorities = await Promise.all(
    names.map((name) => TestAuthority.createRoot({ commonName: `managed ${name}` })),
  )
  const leaves = await Promise.all(authorities.map((authority) => createDevice(authority, 'proof')))
  const root =
    '/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/leafkeeper/certificates'

  const request = (dice: Dice): Omit<HttpTemplate, 'query'> => {
    const name = dice.pick(names)
    const path = `${root}/${name}`
    const ifMatch = dice.pick(['*', certificates.get(name)?.etag ?? '*'])
    const { certificate } = dice.pick(authorities)
    const encoded = dice.chance(0.5) ? certificate : Buffer.from(certificate).toString('base64')
    switch (dice.number(8)) {
      case 0:
        return { method: 'GET', path: root }
      case 1:
        return { method: 'GET', path }
      case 2:
        return { method: 'DELETE', path, headers: { 'if-match': ifMatch } }
      case 3:
        return { method: 'POST', path: `${path}/generateVerificationCode`, headers: { 'if-match': ifMatch } }
      case 4:
        return {
          method: 'POST',
          path: `${path}/verify`,
          headers: { 'if-match': ifMatch },
          body: { certificate: dice.pick(leaves).certificate },
        }
      case 5:
        return { method: 'PUT', path, headers: { 'if-match': ifMatch }, body: { certificate: encoded } }
      default:
        return {
          method: 'PUT',
          path,
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
      return { ...rest, query: { 'api-version': '2022-12-12' }, headers: { authorization, ...headers } }
    },
    state: () => stateOf({ certificate: certificates.list().map((one) => [one.name, one]) }),
  }
}
