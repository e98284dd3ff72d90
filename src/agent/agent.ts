import { EventEmitter } from 'node:events'
import { readCertificate } from '../certificate/read-certificate.ts'
import { LeafkeeperError } from '../errors.ts'
import type { KeyProtection, KeyStore } from '../hsm/key-store.ts'
import { openToken } from '../hsm/open-token.ts'
import { timedKeyStore } from '../hsm/timed-key-store.ts'
import type { HsmToken } from '../hsm/token.ts'
import type { DeviceMessage } from '../hub/hub-transport.ts'
import type { TwinProperties } from '../twin-channel.ts'
import { packageVersion } from '../package-version.ts'
import { Outbox } from '../hub/outbox.ts'
import { adopt } from './adoption.ts'
import type { DeviceAgentEvents, RollOptions, RollReport } from './agent-events.ts'
import { logAgent, logStartFailure } from './agent-log.ts'
import {
  CertificateExchange,
  type InstalledCertificate,
  type PendingRequest,
} from './certificate-exchange.ts'
import { systemClock } from './clock.ts'
import { activeGeneration, Credentials } from './credentials.ts'
import { asFound } from './found-generation.ts'
import { lockFolder } from './folder-lock.ts'
import { HubLink } from './hub-link.ts'
import { fileJournal, memoryJournal, type Journal } from './journal.ts'
import { ManualPipeline } from './manual-pipeline.ts'
import { agentMethods } from './methods.ts'
import { Narrator, type Tell } from './narrator.ts'
import type { DeviceAgentOptions } from './options.ts'
import { Performer } from './performer.ts'
import { completePolicy } from './policy.ts'
import { requireRegistrationId } from './registration-id.ts'
import { rollObstacle } from './roll-obstacle.ts'
import { RollWaiters } from './roll-waiters.ts'
import { newRequestId, Runner, type ObservedStep } from './runner.ts'
import type { AgentStatus } from './status.ts'
import { TwinLink } from './twin-link.ts'
import { twinReport } from './twin-report.ts'
import { nextOwnRoll } from './step-schedule.ts'
import type { AgentState, Operation, Policy, RollMode, RollWindow } from './states.ts'

/**
 * Keeps one device connected to its hub with a key inside an HSM, and rolls its certificate.
 *
 * @example
 * ```ts
 * const agent = await DeviceAgent.start({
 *   registrationId: 'gateway-7',
 *   token: { module: '/usr/lib/softhsm/libsofthsm2.so', token: { label: 'gateway' }, pin: { file: '/run/pin' } },
 *   provisioning: dpsOverMqtt({ provisioningHost: 'global.azure-devices-provisioning.net', idScope: '0ne00000000' }),
 *   hub: hubOverMqtt({}),
 *   issuer,
 *   stateFolder: '/var/lib/leafkeeper',
 * })
 * await agent.connected()
 * await agent.send({ body: JSON.stringify({ temperature: 21.5 }) })
 * await agent.roll()
 * await agent.stop()
 * ```
 */
export class DeviceAgent extends EventEmitter<DeviceAgentEvents> {
  readonly #options: DeviceAgentOptions
  readonly #policy: Policy
  readonly #token: HsmToken
  readonly #keyStore: KeyStore
  readonly #credentials: Credentials
  readonly #manual: ManualPipeline
  readonly #outbox: Outbox
  readonly #link: HubLink
  readonly #narrator: Narrator
  readonly #runner: Runner
  readonly #journal: Journal
  readonly #twin: TwinLink | undefined
  readonly #waiters = new RollWaiters()
  readonly #abort = new AbortController()
  readonly #awaitingStep: (() => void)[] = []
  #stopped: Promise<void> | undefined

  /**
   * Opens the token, reads the journal and begins to connect. Resolves once the machine runs, which is before the
   * device is connected.
   *
   * @throws LeafkeeperError `AGENT_CONFIG_INVALID`, `JOURNAL_*`, `STATE_FOLDER_IN_USE`, and `HSM_*` when the token cannot be used
   */
  static async start(options: DeviceAgentOptions): Promise<DeviceAgent> {
    try {
      return await DeviceAgent.#start(options)
    } catch (error) {
      if (options.logger !== undefined) logStartFailure(options.logger, options.registrationId, error)
      options.metrics?.startFailed(options.registrationId, error)
      throw error
    }
  }

  static async #start(options: DeviceAgentOptions): Promise<DeviceAgent> {
    requireRegistrationId(options.registrationId)
    if (options.provisioning === undefined && options.assignment === undefined)
      throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
        message: 'Expected provisioning, or an assignment to a hub; got neither.',
      })
    const policy = completePolicy(options.policy ?? {}, {
      dps: options.provisioning !== undefined,
      keyType: options.issuer === undefined ? null : (options.keyType ?? 'EC-P256'),
    })
    const token = await openToken(options.token)
    let agent: DeviceAgent | undefined
    try {
      agent = new DeviceAgent(options, policy, token)
      await agent.#begin()
      return agent
    } catch (error) {
      await (agent === undefined ? token.close() : agent.stop())
      throw error
    }
  }

  private constructor(options: DeviceAgentOptions, policy: Policy, token: HsmToken) {
    super()
    const { hub, issuer, provisioning, stateFolder, clock = systemClock } = options
    const commonName = requireRegistrationId(options.registrationId)
    const keyStore = timedKeyStore(token.keyStore(options.agentName ?? commonName), (call) =>
      this.#tell('hsmCall', call),
    )
    this.#keyStore = keyStore
    this.#options = options
    this.#policy = policy
    this.#token = token
    this.#credentials = new Credentials(keyStore, token.tls, commonName)
    this.#outbox = new Outbox({ ...options.outbox, onDrain: () => this.#tell('drain') })
    this.#narrator = new Narrator(this.#tell, this.#waiters, () => this.#link.lastBlackoutMs)
    const exchange = new CertificateExchange({ commonName, keyStore, credentials: this.#credentials, clock })
    this.#manual = new ManualPipeline({
      exchange,
      state: () => this.state,
      isStopped: () => this.#stopped !== undefined,
      obstacle: (mode) => this.rollObstacle(mode),
      requestRoll: (request) => this.#requestRoll(newRequestId(), request),
      nextStep: () => this.#nextStep(),
      deliver: (delivery) => this.#runner.dispatch({ kind: 'certificateDelivered', ...delivery }),
    })
    this.#link = new HubLink({
      hub,
      outbox: this.#outbox,
      credentials: this.#credentials,
      onMethod: agentMethods(this, this.#manual, options.methods ?? {}),
      apiVersion: issuer?.hubApiVersion,
      ended: (operation, error) => this.#connectionEnded(operation, error),
    })
    if (options.twin !== false)
      this.#twin = new TwinLink({
        clock,
        report: () => this.#twinReport(),
        onWindow: (window) => void this.#runner.dispatch({ kind: 'rollWindowNamed', window }),
        problem: (error) => this.#narrator.twinFailed(error),
      })
    const performer = new Performer({
      commonName,
      keyStore,
      credentials: this.#credentials,
      exchange,
      issuer,
      provisioning,
      link: this.#link,
      clock,
      signal: this.#abort.signal,
      failed: (effect, error) => this.#narrator.failed(effect, error),
      registered: (generation, registration) => this.#narrator.registered(generation, registration),
    })
    const lock = (folder: string): Promise<() => Promise<void>> =>
      lockFolder(folder, `the agent of ${commonName}`)
    this.#journal = stateFolder === undefined ? memoryJournal() : fileJournal(stateFolder, { lock })
    this.#runner = new Runner(
      {
        journal: this.#journal,
        clock,
        random: options.random ?? Math.random,
        perform: (effect, state) => performer.perform(effect, state),
        observe: (observed) => this.#observe(observed),
        journalFailed: (error) => this.#narrator.journalFailed(error),
      },
      policy,
      commonName,
    )
    if (options.logger !== undefined) logAgent(this, options.logger)
    options.metrics?.watch(this)
  }

  /** The machine's state after its last step; serialisable, without secrets. */
  get state(): AgentState {
    return this.#runner.state
  }

  /**
   * Sends telemetry. Resolves when the hub has acknowledged the message, however many connections that takes; the
   * receiver may see it twice, with the same message id.
   *
   * @throws LeafkeeperError `OUTBOX_FULL` (wait for `drain`), `OUTBOX_CLOSED`, `MESSAGE_INVALID`
   */
  send(message: DeviceMessage): Promise<void> {
    return this.#outbox.send(message)
  }

  /** Resolves as soon as the device is connected. Rejects with `AGENT_STOPPED`, or with why the agent has halted. */
  async connected(): Promise<void> {
    while (this.state.connection.phase !== 'connected') {
      if (this.#stopped !== undefined) throw new LeafkeeperError('AGENT_STOPPED')
      if (this.state.connection.phase === 'halted')
        throw this.#narrator.lastError ?? new LeafkeeperError(this.state.connection.code)
      await this.#nextStep()
    }
  }

  /**
   * Rolls the certificate. Resolves when a hub has accepted the new generation, which may take as long as the issuer
   * takes, and as long as DPS does not know the new certificate.
   *
   * @throws LeafkeeperError with the code of the step that failed for good (`CERT_*`, `ISSUER_REFUSED`, `HSM_*`), or
   * `AGENT_STATE_INVALID` where another roll is under way
   */
  async roll(options: RollOptions = {}): Promise<RollReport> {
    const { mode = 'expiry' } = options
    const obstacle = this.rollObstacle(mode)
    if (obstacle !== undefined) throw new LeafkeeperError('AGENT_STATE_INVALID', { message: obstacle })
    const requestId = newRequestId()
    const report = this.#waiters.wait(requestId)
    await Promise.race([report, this.#requestRoll(requestId, { ...options, mode })])
    return report
  }

  /** Begins a roll without waiting for it, and returns its request id. Its outcome is told by events. */
  beginRoll(options: RollOptions): string {
    const requestId = newRequestId()
    void this.#requestRoll(requestId, options)
    return requestId
  }

  /**
   * Begins a roll within a window rather than now: when in it, the certificate's thumbprint decides. A window of the
   * twin that is named later takes its place.
   *
   * @throws LeafkeeperError `AGENT_STATE_INVALID` where the agent is stopped or has no issuer
   */
  rollWithin({ start, end, mode = 'expiry' }: { start: Date; end: Date; mode?: RollWindow['mode'] }): void {
    const never = this.#neverRolls()
    if (never !== undefined) throw new LeafkeeperError('AGENT_STATE_INVALID', { message: never })
    const window = { start: start.getTime(), end: end.getTime(), mode, source: 'method' } as const
    void this.#runner.dispatch({ kind: 'rollWindowNamed', window })
  }

  /**
   * The request for the next certificate. Begins a roll where none is under way, and waits until its key is made; the
   * same roll answers again as often as it is asked, with the same key.
   *
   * @throws LeafkeeperError `AGENT_STATE_INVALID` where a roll is further on, or cannot begin; `HSM_*`
   * @example
   * ```ts
   * const { csr } = await agent.createCertificateRequest()
   * await agent.installCertificate(await signedBy(authority, csr))
   * ```
   */
  createCertificateRequest(options: RollOptions = {}): Promise<PendingRequest> {
    return this.#manual.request(options)
  }

  /**
   * Takes the chain for the request that the agent waits with, whatever its issuer is doing. It is checked first, as
   * if the issuer had answered; a wrong one changes nothing. Resolves once the roll goes on with it.
   *
   * @param chain PEM, leaf first; or a certs-only PKCS#7 message
   * @throws LeafkeeperError `CERT_*` that says what is wrong with it, `AGENT_STATE_INVALID` where nothing is waited for
   */
  async installCertificate(chain: string): Promise<InstalledCertificate> {
    const delivery = await this.#manual.check(chain)
    await this.#manual.take(delivery)
    const { generation, certificate } = delivery
    return { generation, thumbprint: certificate.thumbprint, notAfter: new Date(certificate.notAfter) }
  }

  #nextStep(): Promise<void> {
    return new Promise<void>((resolve) => this.#awaitingStep.push(resolve))
  }

  /** Says why a roll cannot begin now; `undefined` when it can. */
  rollObstacle(mode: Exclude<RollMode, 'bootstrap'>): string | undefined {
    return this.#neverRolls() ?? rollObstacle(this.state, mode)
  }

  #neverRolls(): string | undefined {
    if (!this.state.running || this.#stopped !== undefined) return 'The agent is stopped.'
    return this.#options.issuer === undefined ? 'The agent was started without an issuer.' : undefined
  }

  /** Registers with DPS again: with the staged generation where there is one, otherwise with the active one. */
  reprovision(): void {
    void this.#runner.dispatch({ kind: 'reprovisionRequested' })
  }

  /** What the agent is, and how it stands. */
  status(): AgentStatus {
    const { state } = this
    const active = activeGeneration(state)
    const error = this.#narrator.lastError
    return {
      registrationId: state.commonName,
      connection: state.connection.phase,
      roll: state.roll.phase,
      assignment: state.assignment,
      active:
        active === undefined || active.certificate === null
          ? null
          : { ...active.certificate, generation: active.number },
      generations: state.generations.map((g) => g.number),
      nextRoll: nextOwnRoll(state),
      token: this.#token.description,
      unacknowledged: this.#outbox.size,
      lastError: error === null ? null : { code: error.code, message: error.message },
    }
  }

  /**
   * The active private key: its RFC 7512 URI, and how the token guards it.
   *
   * @throws LeafkeeperError `HSM_KEY_NOT_FOUND` before the device has its first certificate
   */
  async describeKey(): Promise<KeyProtection & { readonly uri: string }> {
    const active = activeGeneration(this.state)
    if (active === undefined)
      throw new LeafkeeperError('HSM_KEY_NOT_FOUND', { message: 'The device has no active key yet.' })
    const { keyId } = await this.#credentials.stored(active.number)
    return { uri: this.#keyStore.keyUri(keyId), ...(await this.#keyStore.protection(keyId)) }
  }

  /**
   * Stops: nothing new begins, connections are closed, messages that were not acknowledged are rejected with
   * `OUTBOX_CLOSED`, the token is logged out. A roll that is under way goes on at the next start.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#end()
    return this.#stopped
  }

  async #begin(): Promise<void> {
    await this.#runner.restore()
    if (this.#options.adopt !== undefined)
      await adopt(this.#options.adopt, {
        token: this.#token,
        keyStore: this.#keyStore,
        agentName: this.#options.agentName ?? this.#options.registrationId,
        commonName: this.#options.registrationId,
        number: this.state.nextGeneration,
      })
    const found = await this.#credentials.refresh()
    const { issuer, keyType = 'EC-P256', assignment } = this.#options
    await this.#runner.dispatch({
      kind: 'started',
      policy: this.#policy,
      commonName: this.#options.registrationId,
      found: found.map(asFound),
      fixedAssignment: assignment ?? null,
      bootstrap: issuer === undefined ? null : { keyType, requestId: newRequestId() },
    })
  }

  async #end(): Promise<void> {
    this.#abort.abort(new LeafkeeperError('AGENT_STOPPED'))
    void this.#runner.dispatch({ kind: 'stopRequested' })
    try {
      await this.#runner.close()
      await this.#link.closeAll()
    } finally {
      this.#outbox.close()
      this.#waiters.rejectAll(new LeafkeeperError('AGENT_STOPPED'))
      try {
        await this.#token.close()
      } finally {
        // Last, because the next agent may begin with this folder at once.
        await this.#journal.close()
        this.#releaseWaiting()
        this.#tell('stopped')
      }
    }
  }

  async #requestRoll(requestId: string, { mode = 'expiry', keyType }: RollOptions): Promise<void> {
    await this.#runner.dispatch({
      kind: 'rollRequested',
      mode,
      keyType: keyType ?? this.#options.keyType ?? 'EC-P256',
      requestId,
    })
    this.#waiters.settle(this.state)
  }

  #connectionEnded(operation: Operation, error: LeafkeeperError): void {
    if (this.#stopped !== undefined) return
    this.#narrator.ended(error)
    const { code, retryable } = error
    void this.#runner.dispatch({
      kind: 'hubDisconnected',
      operation,
      failure: { code, retryable, retryAfterMs: error.retryAfterMs ?? null },
    })
  }

  #observe(step: ObservedStep): void {
    this.#narrator.observe(step)
    const { phase } = step.after.roll
    if (phase !== 'proving' && phase !== 'switching') this.#link.discardPrepared()
    this.#twin?.attach(step.after.connection.phase === 'connected' ? this.#link.twin : undefined)
    this.#twin?.refresh()
    this.#releaseWaiting()
  }

  #twinReport(): TwinProperties {
    const { state } = this
    const chain = state.active === null ? undefined : this.#credentials.known(state.active)?.chain
    return twinReport({
      version: packageVersion(),
      status: this.status(),
      state,
      certificate: chain === undefined ? undefined : readCertificate(chain),
      lastRoll: this.#narrator.lastRoll,
    })
  }

  #releaseWaiting(): void {
    for (const release of this.#awaitingStep.splice(0)) release()
  }

  /** A listener that throws must not stop the machine: its error surfaces as an uncaught exception of its own. */
  readonly #tell: Tell = (name, ...args) => {
    try {
      ;(this as EventEmitter).emit(name, ...args)
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }
}
