import { once } from 'node:events'
import { Client, Message } from 'azure-iot-device'
import { Mqtt } from 'azure-iot-device-mqtt'
import { Http as HttpBase } from 'azure-iot-http-base'
import { ProvisioningDeviceClient } from 'azure-iot-provisioning-device'
import { Http } from 'azure-iot-provisioning-device-http'
import azureTpm from 'azure-iot-security-tpm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SimulatedCloud } from 'leafkeeper-sim'
import { openChannel } from '../../src/tpm/open-channel.ts'
import { loadTpmPackage } from '../../src/tpm/tpm-package.ts'
import { Swtpm } from '../support/swtpm.ts'
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

it('takes the official clients with a TPM from the registration to telemetry', async () => {
  const swtpm = await Swtpm.start()
  const channel = await openChannel(swtpm.address)
  const { tss } = await loadTpmPackage()
  const tpm = new tss.Tpm(true)
  tpm.device = {
    connect: (done) => {
      done()
    },
    dispatchCommand: (command, done) =>
      void channel.transmit(command).then((response) => done(null, response)),
    close: () => channel.close(),
  }
  const security = new azureTpm.TpmSecurityClient('', tpm)
  const answerOf = <T>(ask: (done: (error: Error, answer?: T) => void) => void): Promise<T> =>
    new Promise((resolve, reject) => {
      ask((error: Error | null, answer) => (error === null ? resolve(answer as T) : reject(error)))
    })
  const endorsementKey = await answerOf<Buffer>((done) => security.getEndorsementKey(done))
  const registrationId = await answerOf<string>((done) => security.getRegistrationId(done))
  cloud.dps.enrollments.put({
    registrationId,
    attestation: { type: 'tpm', endorsementKey: endorsementKey.toString('base64') },
  })
  const base = new HttpBase()
  base.setOptions({ http: { agent: cloud.clientOptions().agent } })
  // The provisioning packages have copies of others of their own, and so other types.
  const transport = new Http(base as unknown as ConstructorParameters<typeof Http>[0])
  const provisioning = ProvisioningDeviceClient.create(
    cloud.provisioningHost,
    cloud.idScope,
    transport,
    security,
  )
  const { registrationState } = (await provisioning.register()) as unknown as {
    readonly registrationState: { readonly assignedHub: string; readonly deviceId: string }
  }
  const { assignedHub, deviceId } = registrationState
  const provider = new azureTpm.TpmAuthenticationProvider(
    { host: assignedHub, deviceId, gatewayHostName: cloud.address },
    security,
  )
  const client = Client.fromAuthenticationProvider(provider, Mqtt)
  await client.setOptions({ ca: cloud.trustedAuthorities })
  const received = once(cloud.events, 'telemetry')
  await client.open()
  await client.sendEvent(new Message('measured'))
  expect(await received).toMatchObject([{ deviceId: registrationId, body: Buffer.from('measured') }])
  await client.close()
  channel.close()
})
