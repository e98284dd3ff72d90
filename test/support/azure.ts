/**
 * Azure as the scenarios see it: the official service SDKs and the management API. By default a simulated cloud; with
 * `LEAFKEEPER_AZURE_DPS` and `LEAFKEEPER_AZURE_HUB` (connection strings) and `LEAFKEEPER_AZURE_ID_SCOPE`, a real
 * subscription. Certificates of authorities there need `LEAFKEEPER_AZURE_DPS_RESOURCE` (the resource id) and
 * `LEAFKEEPER_AZURE_TOKEN` (a bearer token for the management API) as well, and devices that move a second linked hub,
 * `LEAFKEEPER_AZURE_OTHER_HUB` (its connection string).
 */
import { randomBytes } from 'node:crypto'
import iothub from 'azure-iothub'
import { ProvisioningServiceClient } from 'azure-iot-provisioning-service'
import { onTestFinished } from 'vitest'
import {
  DeviceAgent,
  dpsOverMqtt,
  functionIssuer,
  hubOverMqtt,
  type DeviceAgentOptions,
  type DpsOptions,
  type Issuer,
  type NetworkOptions,
} from 'leafkeeper'
import { SimulatedCloud, type CloudOptions, type IssuedLeaf, type TestAuthority } from 'leafkeeper-sim'
import { AuthorityCertificates } from './azure-certificates.ts'
import { quickPolicy, testHsm } from './world.ts'

const env = process.env

/** Whether the scenarios run against a real subscription. */
export const isRealAzure =
  (env['LEAFKEEPER_AZURE_DPS'] ?? '') !== '' && (env['LEAFKEEPER_AZURE_HUB'] ?? '') !== ''

/** Whether certificates of authorities can be managed; for `it.skipIf(!managesAuthorities)`. */
export const managesAuthorities =
  !isRealAzure ||
  (env['LEAFKEEPER_AZURE_DPS_RESOURCE'] !== undefined && env['LEAFKEEPER_AZURE_TOKEN'] !== undefined)

/** Whether devices can be moved to another hub; for `it.skipIf(!hasOtherHub)`. */
export const hasOtherHub = !isRealAzure || (env['LEAFKEEPER_AZURE_OTHER_HUB'] ?? '') !== ''

export type ProvisioningStatus = 'enabled' | 'disabled'

/** An individual enrollment: what stands in its two slots. */
export interface IndividualOrder {
  readonly registrationId: string
  readonly primary?: Pick<IssuedLeaf, 'certificate'> | undefined
  readonly secondary?: Pick<IssuedLeaf, 'certificate'> | undefined
  readonly provisioningStatus?: ProvisioningStatus
}

/** An enrollment group: verified roots by their names, or intermediates themselves. */
export interface GroupOrder {
  readonly enrollmentGroupId: string
  readonly roots?: { readonly primary?: string; readonly secondary?: string }
  readonly intermediates?: {
    readonly primary?: Pick<TestAuthority, 'certificate'>
    readonly secondary?: Pick<TestAuthority, 'certificate'>
  }
  readonly provisioningStatus?: ProvisioningStatus
}

/** A device record as the hub's registry tells it. */
export interface HubDevice {
  readonly deviceId: string
  readonly status: 'enabled' | 'disabled'
  readonly connectionState: 'Connected' | 'Disconnected'
  readonly authentication: {
    readonly type: string
    readonly x509Thumbprint?: {
      readonly primaryThumbprint: string | null
      readonly secondaryThumbprint: string | null
    }
  }
}

/** Which authority signs for a device, and who is told of each leaf before the device gets it. */
export interface Pipeline {
  readonly authority: TestAuthority | (() => TestAuthority)
  readonly issued?: (leaf: IssuedLeaf, number: number) => Promise<void> | void
}

/** A client of a service SDK, with what its own `setOptions` leaves out. */
/** A second hub that is linked to DPS, for devices that move. */
export interface OtherHub {
  /** Host name. */
  readonly hub: string
  readonly registry: iothub.Registry
}

interface Pointed {
  readonly _restApiClient: { setOptions(options: object): void }
}

/** One DPS with one hub linked to it. */
export class Azure {
  readonly provisioning: ProvisioningServiceClient
  readonly registry: iothub.Registry
  readonly service: iothub.Client
  readonly jobs: iothub.JobClient
  /** Host name of the hub. */
  readonly hub: string
  /** `undefined` where DPS has one hub only. */
  readonly otherHub: OtherHub | undefined
  /** How devices reach DPS. */
  readonly dps: DpsOptions
  /** How devices reach the hub. */
  readonly network: NetworkOptions
  readonly certificates: AuthorityCertificates
  /** Bodies that the hub is known to have got, by device; a real hub is asked by nobody, its PUBACK counts. */
  readonly #received = new Map<string, Set<string>>()
  readonly #cloud: SimulatedCloud | undefined
  readonly #suffix: string

  constructor(cloud: SimulatedCloud | undefined) {
    this.#cloud = cloud
    const hubString = cloud?.hubs[0]?.connectionString ?? required('LEAFKEEPER_AZURE_HUB')
    const agent = cloud?.clientOptions().agent
    const pointed = <T extends object>(client: T): T => {
      if (agent !== undefined) (client as unknown as Pointed)._restApiClient.setOptions({ http: { agent } })
      return client
    }
    const dpsString = cloud?.dps.connectionString ?? required('LEAFKEEPER_AZURE_DPS')
    this.provisioning = pointed(ProvisioningServiceClient.fromConnectionString(dpsString))
    this.registry = pointed(iothub.Registry.fromConnectionString(hubString))
    this.service = pointed(iothub.Client.fromConnectionString(hubString))
    this.jobs = pointed(iothub.JobClient.fromConnectionString(hubString))
    this.hub = hostNameIn(hubString)
    const otherString =
      cloud === undefined ? env['LEAFKEEPER_AZURE_OTHER_HUB'] : cloud.hubs[1]?.connectionString
    this.otherHub =
      otherString === undefined
        ? undefined
        : {
            hub: hostNameIn(otherString),
            registry: pointed(iothub.Registry.fromConnectionString(otherString)),
          }
    this.network =
      cloud === undefined ? {} : { trustedAuthorities: cloud.trustedAuthorities, connectTo: cloud.connectTo }
    this.dps = {
      provisioningHost: cloud?.provisioningHost ?? 'global.azure-devices-provisioning.net',
      idScope: cloud?.idScope ?? required('LEAFKEEPER_AZURE_ID_SCOPE'),
      ...this.network,
    }
    this.certificates = new AuthorityCertificates({
      resource:
        cloud === undefined
          ? (env['LEAFKEEPER_AZURE_DPS_RESOURCE'] ?? '')
          : '/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/leafkeeper',
      token: cloud?.managementToken ?? env['LEAFKEEPER_AZURE_TOKEN'] ?? '',
      ...(agent === undefined ? {} : { agent }),
    })
    this.#suffix = cloud === undefined ? `-${randomBytes(4).toString('hex')}` : ''
    cloud?.events.on('telemetry', ({ deviceId, body }) => {
      const bodies = this.#received.get(deviceId) ?? new Set()
      this.#received.set(deviceId, bodies.add(body.toString()))
    })
  }

  /** A name of this test's own, also in a subscription that others use. */
  name(what: string): string {
    return `${what}${this.#suffix}`
  }

  /** Creates or replaces an individual enrollment. It is removed when the test ends. */
  async putIndividual(order: IndividualOrder): Promise<void> {
    const { registrationId, primary, secondary, provisioningStatus = 'enabled' } = order
    const existing = await orMissing(this.provisioning.getIndividualEnrollment(registrationId))
    if (existing === undefined) this.#cleanUp(async () => this.deleteIndividual(registrationId))
    await this.provisioning.createOrUpdateIndividualEnrollment({
      registrationId,
      provisioningStatus,
      attestation: {
        type: 'x509',
        x509: { clientCertificates: { primary: slot(primary), secondary: slot(secondary) } },
      },
      ...etagOf(existing),
    } as never)
  }

  async deleteIndividual(registrationId: string): Promise<void> {
    await this.provisioning.deleteIndividualEnrollment(registrationId)
  }

  /** Creates or replaces an enrollment group. It is removed when the test ends. */
  async putGroup(order: GroupOrder): Promise<void> {
    const { enrollmentGroupId, roots, intermediates, provisioningStatus = 'enabled' } = order
    const existing = await orMissing(this.provisioning.getEnrollmentGroup(enrollmentGroupId))
    if (existing === undefined) this.#cleanUp(async () => this.deleteGroup(enrollmentGroupId))
    const signing = { primary: slot(intermediates?.primary), secondary: slot(intermediates?.secondary) }
    await this.provisioning.createOrUpdateEnrollmentGroup({
      enrollmentGroupId,
      provisioningStatus,
      attestation: {
        type: 'x509',
        x509: roots === undefined ? { signingCertificates: signing } : { caReferences: roots },
      },
      ...etagOf(existing),
    } as never)
  }

  async deleteGroup(enrollmentGroupId: string): Promise<void> {
    await this.provisioning.deleteEnrollmentGroup(enrollmentGroupId)
  }

  /** Adds an authority to DPS and proves that it is possessed. It is removed when the test ends. */
  async addVerified(name: string, authority: TestAuthority): Promise<void> {
    await this.certificates.add(name, authority)
    this.#cleanUp(async () => this.certificates.delete(name))
    await this.certificates.verify(name, authority)
  }

  /** The hub's record of a device; `undefined` when it has none. */
  async hubDevice(deviceId: string): Promise<HubDevice | undefined> {
    const found = await orMissing(this.registry.get(deviceId))
    return found?.responseBody as unknown as HubDevice | undefined
  }

  /** The leaf that the hub lets the device in with, by its thumbprint. */
  async hubThumbprint(deviceId: string): Promise<string | undefined> {
    const device = await this.hubDevice(deviceId)
    return device?.authentication.x509Thumbprint?.primaryThumbprint?.toUpperCase()
  }

  async deleteHubDevice(deviceId: string): Promise<void> {
    await this.registry.delete(deviceId)
  }

  async setHubDeviceStatus(deviceId: string, status: 'enabled' | 'disabled'): Promise<void> {
    await this.registry.update({ deviceId, status })
  }

  /** Calls a direct method and gives its status. */
  async invoke(deviceId: string, methodName: string, payload: unknown = null): Promise<number> {
    const answer: unknown = await this.service.invokeDeviceMethod(deviceId, { methodName, payload })
    return (answer as { readonly result: { readonly status: number } }).result.status
  }

  /** What an agent of this Azure is started with; without an issuer. */
  agentOptions(registrationId: string): DeviceAgentOptions {
    const { module, label, pin } = testHsm()
    return {
      registrationId,
      token: { module, token: { label }, pin: { callback: () => pin } },
      provisioning: dpsOverMqtt(this.dps),
      hub: hubOverMqtt(this.network),
      policy: quickPolicy,
    }
  }

  /** Starts an agent that is stopped when the test ends; its record at the hub goes too. */
  async startAgent(
    registrationId: string,
    pipeline: Pipeline | Issuer,
    options: Partial<DeviceAgentOptions> = {},
  ): Promise<DeviceAgent> {
    const issuer = 'authority' in pipeline ? issuerOf(pipeline) : pipeline
    const agent = await DeviceAgent.start({ ...this.agentOptions(registrationId), issuer, ...options })
    this.#cleanUp(async () => this.deleteHubDevice(registrationId))
    onTestFinished(() => agent.stop())
    return agent
  }

  /** How many of a device's messages are missing at the hub; where nobody can look, its acknowledgements count. */
  lost(deviceId: string, sent: readonly string[]): readonly string[] {
    if (this.#cloud === undefined) return []
    const received = this.#received.get(deviceId)
    return sent.filter((body) => received?.has(body) !== true)
  }

  /** A simulated cloud ends with its test; a real one is left as it was. */
  #cleanUp(remove: () => Promise<void>): void {
    if (this.#cloud === undefined)
      onTestFinished(async () => {
        await orMissing(remove())
      })
  }
}

/** Azure for one test: a cloud of its own, with one hub unless the options say otherwise; or the real one. */
export async function createAzure(options: CloudOptions = {}): Promise<Azure> {
  if (isRealAzure) return new Azure(undefined)
  const cloud = await SimulatedCloud.start({ hubs: ['hub-a'], ...options })
  onTestFinished(() => cloud.close())
  return new Azure(cloud)
}

function issuerOf({ authority, issued }: Pipeline): Issuer {
  let count = 0
  return functionIssuer('test authority', async ({ csr }) => {
    const leaf = await (typeof authority === 'function' ? authority() : authority).issueLeaf({ csr })
    count += 1
    await issued?.(leaf, count)
    return leaf.chain
  })
}

function hostNameIn(connectionString: string): string {
  return /HostName=([^;]+)/i.exec(connectionString)?.[1] ?? ''
}

function slot(holder: { readonly certificate: string } | undefined): object | undefined {
  return holder === undefined ? undefined : { certificate: holder.certificate }
}

function etagOf(found: { readonly responseBody: unknown } | undefined): object {
  return found === undefined ? {} : { etag: (found.responseBody as { readonly etag: string }).etag }
}

/** `undefined` for what is not there. */
async function orMissing<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof Error && /not ?found/i.test(`${error.name} ${error.message}`)) return undefined
    throw error
  }
}

function required(name: string): string {
  const value = env[name]
  if (value === undefined || value === '') throw new Error(`Expected the environment variable ${name}.`)
  return value
}
