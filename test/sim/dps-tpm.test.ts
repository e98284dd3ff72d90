import { afterAll, beforeAll, expect, it } from 'vitest'
import { SimulatedCloud } from 'leafkeeper-sim'
import { createSas } from '../../sim/http/sas.ts'
import { rawHttp, type RawAnswer } from './raw-http.ts'
import { activate, storageKey } from './software-tpm.ts'

let cloud: SimulatedCloud

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
})
afterAll(() => cloud.close())

it('gives a TPM, and no other, the key to sign its registration with, then the key of its hub', async () => {
  const [endorsement, storageRoot, stranger] = [storageKey(), storageKey(), storageKey()]
  const registrationId = 'tpm-1'
  cloud.dps.enrollments.put({
    registrationId,
    attestation: { type: 'tpm', endorsementKey: endorsement.base64 },
  })
  const resource = `${cloud.idScope}/registrations/${registrationId}`
  const call = async (
    path: string,
    method: string,
    token?: string,
    endorsementKey = endorsement.base64,
  ): Promise<RawAnswer> =>
    rawHttp(cloud, {
      host: cloud.provisioningHost,
      method,
      path: `/${resource}${path}?api-version=2019-03-31`,
      headers: token === undefined ? {} : { authorization: token },
      ...(method === 'GET'
        ? {}
        : { body: { registrationId, tpm: { endorsementKey, storageRootKey: storageRoot.base64 } } }),
    })
  const keyIn = (text: unknown): Buffer =>
    activate(Buffer.from(String(text), 'base64'), endorsement, storageRoot)
  const expiry = Math.floor(Date.now() / 1000) + 60

  expect((await call('/register', 'PUT', undefined, stranger.base64)).json).toMatchObject({
    errorCode: 401002,
  })
  expect((await call('/register', 'PUT', undefined, 'nonsense')).status).toBe(401)
  const challenge = await call('/register', 'PUT')
  expect(challenge).toMatchObject({ status: 401, json: { keyName: 'registration' } })
  const key = keyIn(challenge.json['authenticationKey']).toString('base64')
  const wrong = createSas(resource, Buffer.alloc(32).toString('base64'), expiry, 'registration')
  expect((await call('/register', 'PUT', wrong)).status).toBe(401)

  const token = createSas(resource, key, expiry, 'registration')
  const accepted = await call('/register', 'PUT', token)
  expect(accepted.status).toBe(202)
  const operation = `/operations/${String(accepted.json['operationId'])}`
  expect((await call(operation, 'GET')).status).toBe(401)
  const { json } = await call(operation, 'GET', token)
  const state = json['registrationState'] as { assignedHub: string; tpm: { authenticationKey: string } }
  const hubKey = keyIn(state.tpm.authenticationKey).toString('base64')
  const { authentication } = cloud.hub(state.assignedHub).registry.get(registrationId) ?? {}
  expect(authentication).toMatchObject({ type: 'sas', symmetricKey: { primaryKey: hubKey } })
})
