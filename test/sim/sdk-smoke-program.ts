/**
 * A program as its users write it: the official SDKs, by nothing but their public interface, for Azure. It knows of no
 * simulator. `sdk-smoke.test.ts` runs it in a process of its own, and tells it by messages what to do.
 */
import iothub from 'azure-iothub'
import { Client, Message, type Twin } from 'azure-iot-device'
import { Mqtt, MqttWs } from 'azure-iot-device-mqtt'
import { ProvisioningDeviceClient } from 'azure-iot-provisioning-device'
import { Http } from 'azure-iot-provisioning-device-http'
import provisioningMqtt from 'azure-iot-provisioning-device-mqtt'
import { ProvisioningServiceClient } from 'azure-iot-provisioning-service'
import { SymmetricKeySecurityClient } from 'azure-iot-security-symmetric-key'
import { X509Security } from 'azure-iot-security-x509'

/** What the program is told about its Azure: what a portal shows. */
export interface Subscription {
  readonly idScope: string
  readonly dps: string
  readonly hub: string
}

/** A certificate with its key, as PEM; or a symmetric key. */
export type Proof = { readonly cert: string; readonly key: string } | { readonly symmetricKey: string }

/** The half of a twin that the device writes, as the SDK documents it; its types leave the method out. */
interface Reported {
  update(patch: object, done: (error?: Error) => void): void
}

/** Everything the program can do, each with what it needs and what it gives. */
const errands = {
  /** Registers a device. */
  async register(
    { idScope }: Subscription,
    order: { transport: 'Mqtt' | 'MqttWs' | 'Http'; registrationId: string; proof: Proof },
  ): Promise<unknown> {
    const { registrationId, proof } = order
    const transports = { ...provisioningMqtt, Http }
    const security =
      'cert' in proof
        ? new X509Security(registrationId, proof)
        : new SymmetricKeySecurityClient(registrationId, proof.symmetricKey)
    const host = 'global.azure-devices-provisioning.net'
    // The security packages have a copy of azure-iot-common of their own, and so other types.
    const client = ProvisioningDeviceClient.create(
      host,
      idScope,
      new transports[order.transport](),
      security as never,
    )
    if ('cert' in proof) client.setProvisioningPayload({ colour: 'blue' })
    return client.register()
  },

  /** A whole day of a device: telemetry, twin in both directions, a direct method. */
  async live(
    { hub }: Subscription,
    order: { transport: 'Mqtt' | 'MqttWs'; connectionString: string; x509?: { cert: string; key: string } },
  ): Promise<unknown> {
    const transports = { Mqtt, MqttWs }
    const { transport, connectionString, x509 } = order
    const client = Client.fromConnectionString(connectionString, transports[transport])
    if (x509 !== undefined) await client.setOptions(x509)
    await client.open()
    const deviceId = /DeviceId=([^;]+)/.exec(connectionString)?.[1] ?? ''
    const message = new Message(JSON.stringify({ celsius: 21 }))
    message.properties.add('over', transport)
    await client.sendEvent(message)

    const registry = iothub.Registry.fromConnectionString(hub)
    const twin: Twin = await client.getTwin()
    const wanted = new Promise((resolve) => {
      twin.on('properties.desired.interval', (interval: number) => resolve(interval))
    })
    const { responseBody: seen } = (await registry.getTwin(deviceId)) as { responseBody: iothub.Twin }
    await seen.update({ properties: { desired: { interval: 5 } } })
    const desired = await wanted
    await new Promise<void>((resolve, reject) => {
      const { reported } = twin.properties as unknown as { reported: Reported }
      reported.update({ interval: desired }, (error?: Error) => {
        if (error) reject(error)
        else resolve()
      })
    })
    const { responseBody: after } = (await registry.getTwin(deviceId)) as { responseBody: iothub.Twin }

    client.onDeviceMethod('add', (request, response) => {
      const [one, other] = request.payload as readonly [number, number]
      void response.send(200, { sum: one + other })
    })
    const service = iothub.Client.fromConnectionString(hub)
    const method = { methodName: 'add', payload: [2, 3], connectTimeoutInSeconds: 5 }
    const { result } = (await service.invokeDeviceMethod(deviceId, method)) as { result: unknown }
    await client.close()
    return { desired, reported: after.properties.reported['interval'] as unknown, method: result }
  },

  /** An individual enrollment from its making to its end. */
  async individualEnrollment(
    { dps }: Subscription,
    { registrationId }: { registrationId: string },
  ): Promise<unknown> {
    const client = ProvisioningServiceClient.fromConnectionString(dps)
    const made = await client.createOrUpdateIndividualEnrollment({
      registrationId,
      attestation: { type: 'symmetricKey' },
    } as never)
    const { responseBody: mechanism } =
      await client.getIndividualEnrollmentAttestationMechanism(registrationId)
    const changed = await client.createOrUpdateIndividualEnrollment({
      ...made.responseBody,
      provisioningStatus: 'disabled',
    } as never)
    const stale = await nameOf(client.createOrUpdateIndividualEnrollment(made.responseBody))
    const query = client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 10)
    const page = (await query.next()) as unknown as { responseBody: { registrationId: string }[] }
    await client.deleteIndividualEnrollment(registrationId)
    return {
      mechanism,
      status: changed.responseBody.provisioningStatus,
      stale,
      listed: page.responseBody.map((one) => one.registrationId),
      afterwards: await nameOf(client.getIndividualEnrollment(registrationId)),
    }
  },

  /** A group, and what DPS remembers of its devices. */
  async enrollmentGroup(
    { dps }: Subscription,
    { enrollmentGroupId, certificate }: { enrollmentGroupId: string; certificate: string },
  ): Promise<unknown> {
    const client = ProvisioningServiceClient.fromConnectionString(dps)
    await client.createOrUpdateEnrollmentGroup({
      enrollmentGroupId,
      attestation: { type: 'x509', x509: { signingCertificates: { primary: { certificate } } } },
    } as never)
    const { responseBody } = await client.getEnrollmentGroup(enrollmentGroupId)
    return { enrollmentGroupId: responseBody.enrollmentGroupId, status: responseBody.provisioningStatus }
  },

  /** What DPS remembers of a device, until it is told to forget it. */
  async registrationState(
    { dps }: Subscription,
    { registrationId }: { registrationId: string },
  ): Promise<unknown> {
    const client = ProvisioningServiceClient.fromConnectionString(dps)
    const { responseBody } = await client.getDeviceRegistrationState(registrationId)
    await client.deleteDeviceRegistrationState(registrationId)
    const afterwards = await nameOf(client.getDeviceRegistrationState(registrationId))
    return { status: (responseBody as { status?: string }).status, afterwards }
  },

  /** Devices in the registry of the hub. */
  async registry({ hub }: Subscription, { deviceId }: { deviceId: string }): Promise<unknown> {
    const registry = iothub.Registry.fromConnectionString(hub)
    const { responseBody: made } = await registry.create({ deviceId })
    const again = await nameOf(registry.create({ deviceId }))
    await registry.update({ deviceId, status: 'disabled' })
    const { responseBody: read } = await registry.get(deviceId)
    await registry.addDevices([{ deviceId: `${deviceId}-bulk` }])
    const { responseBody: counted } = (await registry.getRegistryStatistics()) as unknown as {
      responseBody: { totalDeviceCount: number; disabledDeviceCount: number }
    }
    const query = registry.createQuery(`SELECT * FROM devices WHERE deviceId = '${deviceId}'`)
    const found = (await query.nextAsTwin()) as unknown as { result: { deviceId: string }[] }
    await registry.removeDevices([{ deviceId: `${deviceId}-bulk` }], true)
    await registry.delete(deviceId)
    return {
      kind: (made as { authentication?: { type?: string } }).authentication?.type,
      again,
      status: (read as { status?: string }).status,
      counted,
      found: found.result.map((one) => one.deviceId),
      afterwards: await nameOf(registry.get(deviceId)),
    }
  },

  /** A job that writes the twin of one device. */
  async job(
    { hub }: Subscription,
    { jobId, deviceId }: { jobId: string; deviceId: string },
  ): Promise<unknown> {
    const registry = iothub.Registry.fromConnectionString(hub)
    await registry.create({ deviceId })
    const jobs = iothub.JobClient.fromConnectionString(hub)
    await jobs.scheduleTwinUpdate(
      jobId,
      `deviceId = '${deviceId}'`,
      { tags: { site: 'north' } },
      new Date(),
      60,
    )
    for (;;) {
      const { jobStatus } = (await jobs.getJob(jobId)) as unknown as { jobStatus: { status: string } }
      if (jobStatus.status === 'queued' || jobStatus.status === 'running') continue
      const { responseBody: twin } = (await registry.getTwin(deviceId)) as { responseBody: iothub.Twin }
      return { status: jobStatus.status, tags: twin.tags }
    }
  },
}

/** An errand, by its name and what it needs. */
export type Errands = typeof errands

/** How something ended that is to be refused. */
async function nameOf(asked: Promise<unknown>): Promise<string> {
  try {
    await asked
    return 'done'
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message.split('\n')[0] ?? ''}` : String(error)
  }
}

const subscription = JSON.parse(process.env['SUBSCRIPTION'] ?? '{}') as Subscription

process.on(
  'message',
  ({ number, errand, order }: { number: number; errand: keyof Errands; order: never }) => {
    errands[errand](subscription, order).then(
      (result) => process.send?.({ number, result: result ?? null }),
      (error: unknown) => process.send?.({ number, error: String(error) }),
    )
  },
)
