import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { SimulatedCloud, TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { prepareSoftHsm } from '../../src/hsm/softhsm.ts'
import { Pkcs11Shim } from '../support/pkcs11-shim.ts'
import { createTestHsm, type TestHsm } from '../support/softhsm.ts'
import type { Watch } from './conversation.ts'
import { bundleDevice } from './device-bundle.ts'
import { DeviceProcess, type Outcome } from './device-process.ts'

/** How DPS knows the devices of a scenario. */
export type Enrollment = 'individual' | 'group'
export type RollMode = 'expiry' | 'breach'

/** A cloud in the test's own process, and devices that run in processes of theirs. */
export class CrashCloud {
  readonly cloud: SimulatedCloud
  readonly #program: string
  readonly #template: TestHsm
  readonly #roots: Readonly<Record<Enrollment, TestAuthority>>
  readonly #folder: string
  #devices = 0

  private constructor(
    cloud: SimulatedCloud,
    program: string,
    roots: Readonly<Record<Enrollment, TestAuthority>>,
  ) {
    this.cloud = cloud
    this.#program = program
    this.#roots = roots
    this.#template = createTestHsm('crash')
    this.#folder = mkdtempSync(join(this.#template.folder, 'devices-'))
  }

  static async start(): Promise<CrashCloud> {
    const cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
    const roots = {
      individual: await TestAuthority.createRoot({
        commonName: 'root of leaves that stand in entries themselves',
      }),
      group: await TestAuthority.createRoot({ commonName: 'root of a group' }),
    }
    cloud.dps.groups.put({ enrollmentGroupId: 'group', attestation: { primary: roots.group.certificate } })
    return new CrashCloud(cloud, await bundleDevice(), roots)
  }

  /** A new device with an empty token. */
  addDevice(enrollment: Enrollment, mode: RollMode): CrashDevice {
    this.#devices += 1
    const registrationId = `device-${enrollment}-${mode}-${this.#devices}`
    const folder = join(this.#folder, registrationId)
    const softHsm = prepareSoftHsm(join(folder, 'token'))
    cpSync(join(this.#template.folder, 'tokens'), join(folder, 'token/tokens'), { recursive: true })
    mkdirSync(join(folder, 'state'))
    const aside = join(this.#folder, `${registrationId}-faults`)
    mkdirSync(aside)
    return new CrashDevice({
      cloud: this.cloud,
      root: this.#roots[enrollment],
      registrationId,
      enrollment,
      mode,
      trace: join(aside, 'trace'),
      launch: (device, watchStart) => {
        const shim = new Pkcs11Shim(aside)
        const { provisioningHost, idScope, trustedAuthorities, connectTo } = this.cloud
        return new DeviceProcess(
          {
            program: this.#program,
            environment: { ...softHsm, ...shim.environment },
            pin: this.#template.pin.reveal(),
            setUp: {
              ...{ registrationId, folder, provisioningHost, idScope, trustedAuthorities, connectTo },
              module: shim.module,
              tokenLabel: this.#template.label,
              rules: shim.rulesFile,
              watchStart,
            },
          },
          device,
        )
      },
    })
  }

  async close(): Promise<void> {
    await this.cloud.close()
    rmSync(this.#program, { force: true })
    this.#template.remove()
  }
}

interface CrashDeviceParts {
  readonly cloud: SimulatedCloud
  readonly root: TestAuthority
  readonly registrationId: string
  readonly enrollment: Enrollment
  readonly mode: RollMode
  readonly trace: string
  readonly launch: (device: CrashDevice, watchStart: Watch | null) => DeviceProcess
}

/** One device, over all its processes, with its owner: who signs for it, enrolls it, and counts its messages. */
export class CrashDevice {
  /** Where its points are written to, when they are. */
  readonly trace: string
  readonly mode: RollMode
  readonly #parts: CrashDeviceParts
  readonly #leaves = new Map<string, IssuedLeaf>()
  readonly #acknowledged: string[] = []
  readonly #received = new Set<string>()

  constructor(parts: CrashDeviceParts) {
    const { cloud, registrationId, mode, trace } = parts
    this.#parts = parts
    this.mode = mode
    this.trace = trace
    cloud.events.on('telemetry', ({ deviceId, body }) => {
      if (deviceId === registrationId) this.#received.add(body.toString())
    })
  }

  /** Starts its next process; points count from its start on where they are to be watched. */
  start(watch: Watch | null = null): DeviceProcess {
    return this.#parts.launch(this, watch)
  }

  async issue(csr: string): Promise<string> {
    const leaf = await this.#parts.root.issueLeaf({ csr })
    this.#leaves.set(leaf.thumbprint, leaf)
    if (this.#parts.enrollment === 'individual') this.#enroll(leaf)
    return leaf.chain
  }

  acknowledged(body: string): void {
    this.#acknowledged.push(body)
  }

  /** What is wrong with a device that should be settled; nothing, as it should be. */
  faultsOf(outcome: Outcome): readonly string[] {
    if (outcome.kind !== 'settled') return [`it is not settled but ${JSON.stringify(outcome)}`]
    const { audit } = outcome
    const leaf = this.#leaves.get(audit.thumbprint)
    const lost = this.#acknowledged.filter((body) => !this.#received.has(body))
    const { private: privateKeys, public: publicKeys, certificate } = audit.objects
    const length = leaf?.chain.match(/BEGIN CERTIFICATE/g)?.length
    const faults: [isWrong: boolean, what: string][] = [
      [leaf === undefined, `its certificate ${audit.thumbprint} was never issued`],
      [this.#hubThumbprint(audit.hub) !== audit.thumbprint, 'the hub has another thumbprint'],
      [
        privateKeys !== 1 || publicKeys !== 1,
        `its token has ${privateKeys} private and ${publicKeys} public keys`,
      ],
      [certificate !== length, `its token has ${certificate} certificates, not ${length ?? 0}`],
      [lost.length > 0, `acknowledged messages are lost: ${lost.join(', ')}`],
    ]
    return faults.filter(([isWrong]) => isWrong).map(([, what]) => what)
  }

  /** As IE1 and IB1 of the rolling guide: beside the one in use before expiry, in its place after a breach. */
  #enroll(leaf: IssuedLeaf): void {
    const { cloud, registrationId, mode } = this.#parts
    const present = this.#leaves.get(this.#hubThumbprint(cloud.hubs[0]?.hostName ?? '') ?? '')
    cloud.dps.enrollments.put({
      registrationId,
      attestation: {
        primary: leaf.certificate,
        ...(present === undefined || mode === 'breach' ? {} : { secondary: present.certificate }),
      },
    })
  }

  #hubThumbprint(hub: string): string | undefined {
    const { cloud, registrationId } = this.#parts
    const record = cloud.hubs.find(({ hostName }) => hostName === hub)?.registry.get(registrationId)
    return record?.authentication.type === 'selfSigned'
      ? (record.authentication.x509Thumbprint.primaryThumbprint ?? undefined)
      : undefined
  }
}
