import type { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createSas } from '../../../../sim/http/sas.ts'
import { createDevice } from '../../devices.ts'
import type { Dice } from '../dice.ts'
import { isProvisioningRefusal, type HttpFace } from '../http-face.ts'
import type { HttpTemplate } from '../http-input.ts'
import { provisioningState } from '../provisioning-state.ts'

const ids = ['kept-1', 'kept-2', 'fuzz-1', 'fuzz-2', 'fuzz-3', 'fuzz-4', 'fuzz-5']
const kinds = ['enrollments', 'enrollmentGroups'] as const

/** The service API of DPS. */
export async function dpsServiceFace(cloud: SimulatedCloud, root: TestAuthority): Promise<HttpFace> {
  const { dps } = cloud
  const leaves = await Promise.all(ids.map((id) => createDevice(root, id)))
  const [, key = ''] = /SharedAccessKey=(.*)$/.exec(dps.connectionString) ?? []
  const policy = 'provisioningserviceowner'
  const authorization = createSas(dps.hostName, key, Math.floor(Date.now() / 1000) + 3600, policy)
  const query = { 'api-version': '2021-10-01' }

  const common = (dice: Dice): object => ({
    provisioningStatus: dice.pick(['enabled', 'disabled']),
    allocationPolicy: dice.pick(['hashed', 'geoLatency', 'static', 'custom']),
    iotHubHostName: 'hub-a.azure-devices.net',
    iotHubs: ['hub-a.azure-devices.net'],
    customAllocationDefinition: { webhookUrl: 'http://127.0.0.1:9/', apiVersion: '2019-03-31' },
    reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: dice.chance(0.5) },
    initialTwin: { tags: { site: 'a' }, properties: { desired: { interval: 7 } } },
    capabilities: { iotEdge: false },
  })
  const certificates = (dice: Dice, slots: string): object => ({
    type: 'x509',
    x509: {
      [slots]: {
        primary: { certificate: dice.pick(leaves).certificate },
        secondary: dice.chance(0.5) ? null : { certificate: dice.pick(leaves).certificate },
      },
    },
  })
  const keys = { type: 'symmetricKey', symmetricKey: { primaryKey: key, secondaryKey: key } }
  const enrollment = (dice: Dice, registrationId: string): object => ({
    registrationId,
    deviceId: `device-${registrationId}`,
    optionalDeviceInformation: { maker: 'a', parts: [1, 2, { three: null }] },
    attestation: dice.pick([
      certificates(dice, 'clientCertificates'),
      keys,
      { type: 'tpm', tpm: { endorsementKey: 'AToAAQ==', storageRootKey: 'AToAAQ==' } },
    ]),
    ...common(dice),
  })
  const group = (dice: Dice, enrollmentGroupId: string): object => ({
    enrollmentGroupId,
    attestation: dice.pick([
      certificates(dice, 'signingCertificates'),
      keys,
      { type: 'x509', x509: { caReferences: { primary: 'fuzz-root' } } },
    ]),
    ...common(dice),
  })
  const request = (dice: Dice): Omit<HttpTemplate, 'query'> => {
    const kind = dice.pick(kinds)
    const id = dice.pick(ids)
    const path = `/${kind}/${id}`
    const body = kind === 'enrollments' ? enrollment(dice, id) : group(dice, id)
    switch (dice.number(10)) {
      case 0:
        return { method: 'GET', path }
      case 1:
        return { method: 'DELETE', path, headers: { 'if-match': '*' } }
      case 2:
        return { method: 'POST', path: `${path}/attestationmechanism` }
      case 3: {
        const continuation = Buffer.from(JSON.stringify({ after: id })).toString('base64')
        const headers = { 'x-ms-max-item-count': '2', 'x-ms-continuation': continuation }
        return {
          method: 'POST',
          path: `/${kind}/query`,
          headers,
          body: { query: 'SELECT * FROM enrollments' },
        }
      }
      case 4: {
        const mode = dice.pick(['create', 'update', 'updateIfMatchETag', 'delete'])
        const enrollments = [enrollment(dice, id), enrollment(dice, dice.pick(ids))]
        return { method: 'POST', path: '/enrollments', body: { mode, enrollments } }
      }
      case 5:
        return { method: dice.pick(['GET', 'DELETE']), path: `/registrations/${id}` }
      case 6:
        return { method: 'POST', path: `/registrations/${id}/query`, body: { query: '*' } }
      case 7:
        return { method: 'PUT', path, headers: { 'if-match': '"*"' }, body }
      default:
        return { method: 'PUT', path, body }
    }
  }
  return {
    host: dps.hostName,
    isRefusal: isProvisioningRefusal,
    template: (dice) => {
      const { headers, ...rest } = request(dice)
      return { ...rest, query, headers: { authorization, ...headers } }
    },
    state: () => provisioningState(cloud),
  }
}
