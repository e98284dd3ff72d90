import { createSas } from '../../../../sim/http/sas.ts'
import type { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createDevice } from '../../devices.ts'
import type { Dice } from '../dice.ts'
import { isProvisioningRefusal, type HttpFace } from '../http-face.ts'
import type { HttpTemplate } from '../http-input.ts'
import { provisioningState } from '../provisioning-state.ts'

/** DPS as devices see it over HTTPS: by certificate, by key, and by TPM as far as its challenge. */
export async function dpsDeviceHttpFace(cloud: SimulatedCloud, root: TestAuthority): Promise<HttpFace> {
  const { dps, idScope } = cloud
  const key = Buffer.alloc(32, 5).toString('base64')
  const device = await createDevice(root, 'http-device')
  dps.groups.put({ enrollmentGroupId: 'http-group', attestation: { primary: root.certificate } })
  dps.enrollments.put({
    registrationId: 'http-keyed',
    attestation: { type: 'symmetricKey', primaryKey: key, secondaryKey: key },
  })
  dps.enrollments.put({
    registrationId: 'http-tpm',
    attestation: { type: 'tpm', endorsementKey: 'AToAAQ==' },
  })
  const resource = `${idScope}/registrations/http-keyed`
  const token = createSas(resource, key, Math.floor(Date.now() / 1000) + 3600, 'registration')
  let operation = 'none'

  const request = (dice: Dice): Omit<HttpTemplate, 'query'> => {
    const id = dice.pick([device.id, device.id, 'http-keyed', 'http-keyed', 'http-tpm', 'http-nobody'])
    const path = `/${idScope}/registrations/${id}`
    const headers = id === 'http-keyed' ? { authorization: token } : {}
    const tpm = { endorsementKey: 'AToAAQ==', storageRootKey: 'AToAAQ==' }
    const body = {
      registrationId: id,
      ...(dice.chance(0.5) ? { payload: { model: 'a', parts: [1, null, { two: '2' }] } } : {}),
      ...(id === 'http-tpm' ? { tpm } : {}),
      ...(dice.chance(0.2) ? { csr: 'MIIBAAAA' } : {}),
    }
    switch (dice.number(4)) {
      case 0:
        return { method: 'GET', path: `${path}/operations/${operation}`, headers }
      case 1:
        return { method: 'POST', path, headers, body }
      default:
        return { method: 'PUT', path: `${path}/register`, headers, body }
    }
  }
  return {
    host: cloud.provisioningHost,
    device,
    isRefusal: (body) => isProvisioningRefusal(body) || 'authenticationKey' in body,
    template: (dice) => ({
      ...request(dice),
      query: { 'api-version': dice.pick(['2019-03-31', '2025-07-01-preview']) },
    }),
    answered: (_input, answer) => {
      const [, operationId] = /"operationId":"([^"]+)"/.exec(answer?.body ?? '') ?? []
      operation = operationId ?? operation
    },
    state: () => provisioningState(cloud),
  }
}
