/**
 * Azure as the scenarios see it: the official service SDKs and the management API, of a simulated cloud or of the real
 * subscription that the environment names; see scenario.ts.
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
  type IssueRequest,
  type Issuer,
  type NetworkOptions,
} from 'leafkeeper'
import { TestAuthority, type IssuedLeaf, type SimulatedCloud } from 'leafkeeper-sim'
import { AuthorityCertificates } from './azure-certificates.ts'
import { quickPolicy, testHsm } from './world.ts'

const env = process.env

export type ProvisioningStatus = 'enabled' | 'disabled'

/** An individual enrollment: what stands in its two slots. */
export interface IndividualOrder {
  readonly registrationId: string
  readonly primary?: Pick<IssuedLeaf, 'certificate'> | undefined
  readonly secondary?: Pick<IssuedLeaf, 'certificate'> | undefined
  readonly provisioningStatus?: ProvisioningStatus
  /** The hub that the device is assigned to. Default: whichever DPS chooses. */
  readonly iotHubHostName?: string
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

/** A pipeline that enrolls what it has signed, and remembers it. */
export interface EnrollingPipeline extends Pipeline {
  readonly authority: TestAuthority
  /** In order. */
  readonly leaves: readonly IssuedLeaf[]
}

/** A second hub that is linked to DPS, for devices that move. */
export interface OtherHub {
  /** Host name. */
  readonly hub: string
  readonly registry: iothub.Registry
}

/** A client of a service SDK, with what its own `setOptions` leaves out. */
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
  /** The authorities of DPS. */
  readonly certificates: AuthorityCertificates
  /** The authorities of the hub. */
  readonly hubCertificates: AuthorityCertificates
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
    const simulated = '/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices'
    const access = {
      token: cloud?.managementToken ?? env['LEAFKEEPER_AZURE_TOKEN'] ?? '',
      ...(agent === undefined ? {} : { agent }),
    }
    this.certificates = new AuthorityCertificates({
      ...access,
      resource:
        cloud === undefined
          ? (env['LEAFKEEPER_AZURE_DPS_RESOURCE'] ?? '')
          : `${simulated}/provisioningServices/leafkeeper`,
    })
    this.hubCertificates = new AuthorityCertificates({
      ...access,
      resource:
        cloud === undefined
          ? (env['LEAFKEEPER_AZURE_HUB_RESOURCE'] ?? '')
          : `${simulated}/IotHubs/${this.hub.replace(/\..*$/, '')}`,
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
    const { registrationId, primary, secondary, provisioningStatus = 'enabled', iotHubHostName } = order
    const existing = await orMissing(this.provisioning.getIndividualEnrollment(registrationId))
    if (existing === undefined) this.#cleanUp(async () => this.deleteIndividual(registrationId))
    await this.provisioning.createOrUpdateIndividualEnrollment({
      registrationId,
      provisioningStatus,
      attestation: {
        type: 'x509',
        x509: { clientCertificates: { primary: slot(primary), secondary: slot(secondary) } },
      },
      ...(iotHubHostName === undefined ? {} : { iotHubHostName, allocationPolicy: 'static' }),
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
    await this.#addVerified(this.certificates, name, authority)
  }

  /** The same at the hub, for devices that authenticate by authority. */
  async addVerifiedAtHub(name: string, authority: TestAuthority): Promise<void> {
    await this.#addVerified(this.hubCertificates, name, authority)
  }

  /** A pipeline that puts each new leaf into the individual enrollment of a device, beside the one before it. */
  async enrolling(registrationId: string): Promise<EnrollingPipeline> {
    const leaves: IssuedLeaf[] = []
    return {
      authority: await TestAuthority.createRoot({ commonName: `${registrationId} root` }),
      leaves,
      issued: async (leaf) => {
        leaves.push(leaf)
        await this.putIndividual({ registrationId, primary: leaf, secondary: leaves.at(-2) })
      },
    }
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

  async #addVerified(
    certificates: AuthorityCertificates,
    name: string,
    authority: TestAuthority,
  ): Promise<void> {
    await certificates.add(name, authority)
    this.#cleanUp(async () => certificates.delete(name))
    await certificates.verify(name, authority)
  }

  /** A simulated cloud ends with its test; a real one is left as it was. */
  #cleanUp(remove: () => Promise<void>): void {
    if (this.#cloud === undefined)
      onTestFinished(async () => {
        await orMissing(remove())
      })
  }
}

function issuerOf(pipeline: Pipeline): Issuer {
  return functionIssuer('test authority', signerOf(pipeline))
}

/** Signs requests as a pipeline does. */
export function signerOf({ authority, issued }: Pipeline): (request: IssueRequest) => Promise<string> {
  let count = 0
  return async ({ csr }) => {
    const leaf = await (typeof authority === 'function' ? authority() : authority).issueLeaf({ csr })
    count += 1
    await issued?.(leaf, count)
    return leaf.chain
  }
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
