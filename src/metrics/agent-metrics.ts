import type prometheus from 'prom-client'
import type { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { AgentStatus } from '../agent/status.ts'
import type { AgentWatcher, ObservedAgent } from '../agent/observed-agent.ts'
import { LeafkeeperError } from '../errors.ts'
import { hsmOperations } from '../hsm/timed-key-store.ts'
import { packageVersion } from '../package-version.ts'
import { metricTable, type MetricName, type MetricRow } from './metric-table.ts'

type Labels = Readonly<Record<string, string>>
type NameOf<Type extends MetricRow['type']> = {
  [Name in MetricName]: (typeof metricTable)[Name]['type'] extends Type ? Name : never
}[MetricName]

const connectionPhases: Readonly<Record<AgentStatus['connection'], true>> = {
  offline: true,
  provisioning: true,
  connecting: true,
  connected: true,
  waiting: true,
  refused: true,
  halted: true,
}
const rollPhases: Readonly<Record<AgentStatus['roll'], true>> = {
  idle: true,
  generating: true,
  requesting: true,
  storing: true,
  staged: true,
  proving: true,
  switching: true,
  retiring: true,
  failed: true,
}

/** The metrics of the agents that are started with it, apart from those of all others in the process. */
export interface AgentMetrics extends AgentWatcher {
  /** What `text()` gives, as HTTP names it. */
  readonly contentType: string
  /** All metrics in Prometheus' text format, as of now. */
  text(): Promise<string>
}

/**
 * Makes metrics with a registry of their own. prom-client is loaded here, and nowhere where nobody asks for metrics.
 *
 * @param now milliseconds since 1970-01-01T00:00:00Z
 * @example
 * ```ts
 * const metrics = await createMetrics()
 * await DeviceAgent.start({ ..., metrics })
 * const { url } = await serveMetrics(metrics, { port: 9464 })
 * ```
 */
export async function createMetrics(now: () => number = Date.now): Promise<AgentMetrics> {
  const { default: client } = await import('prom-client')
  return new PromMetrics(client, now)
}

class PromMetrics implements AgentMetrics {
  readonly #registry: Registry
  readonly #now: () => number
  readonly #gauges = new Map<string, Gauge>()
  readonly #counters = new Map<string, Counter>()
  readonly #histograms = new Map<string, Histogram>()
  /** How to learn how each agent stands; of one that was stopped, how it stood at last. */
  readonly #agents = new Map<string, () => AgentStatus>()

  constructor(client: typeof prometheus, now: () => number) {
    this.#now = now
    this.#registry = new client.Registry()
    for (const [name, row] of Object.entries<MetricRow>(metricTable)) {
      const options = {
        name: `leafkeeper_${name}`,
        help: row.help,
        labelNames: ['registration_id', ...row.labels],
        registers: [this.#registry],
      }
      if (row.type === 'gauge') this.#gauges.set(name, new client.Gauge(options))
      else if (row.type === 'counter') this.#counters.set(name, new client.Counter(options))
      else this.#histograms.set(name, new client.Histogram({ ...options, buckets: [...(row.buckets ?? [])] }))
    }
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  watch(agent: ObservedAgent): void {
    const { registrationId: id } = agent.status()
    this.#agents.set(id, () => agent.status())
    // What is counted begins at 0, so that the first one is seen as an increase.
    for (const what of ['connection', 'registration', 'roll', 'destruction'])
      this.#count(id, 'retries_total', { what }, 0)
    for (const mode of ['bootstrap', 'expiry', 'breach'])
      this.#count(id, 'rolls_total', { mode, result: 'succeeded', code: '' }, 0)
    for (const operation of hsmOperations)
      this.#histograms
        .get('hsm_call_duration_seconds')
        ?.zero({ registration_id: id, operation, result: 'succeeded' })

    agent.on('rolled', ({ mode, durationMs, blackoutMs }) => {
      this.#count(id, 'rolls_total', { mode, result: 'succeeded', code: '' })
      this.#observe(id, 'roll_duration_seconds', { mode }, durationMs)
      if (blackoutMs !== null) this.#observe(id, 'roll_blackout_seconds', {}, blackoutMs)
    })
    agent.on('rollFailed', ({ error: { code } }) => {
      const { roll } = agent.state
      const mode = 'plan' in roll ? roll.plan.mode : ''
      this.#count(id, 'rolls_total', { mode, result: 'failed', code })
    })
    agent.on('retry', ({ what }) => this.#count(id, 'retries_total', { what }))
    agent.on('problem', ({ error: { code }, during }) => this.#count(id, 'errors_total', { during, code }))
    agent.on('disconnected', ({ code }) => this.#count(id, 'disconnections_total', { code }))
    agent.on('hsmCall', ({ operation, durationMs, code }) => {
      const result = code === null ? 'succeeded' : 'failed'
      this.#observe(id, 'hsm_call_duration_seconds', { operation, result }, durationMs)
    })
    agent.on('stopped', () => {
      const last = agent.status()
      this.#agents.set(id, () => last)
    })
  }

  startFailed(registrationId: string, error: unknown): void {
    const code = error instanceof LeafkeeperError ? error.code : ''
    this.#count(registrationId, 'start_failures_total', { code })
  }

  text(): Promise<string> {
    for (const gauge of this.#gauges.values()) gauge.reset()
    for (const status of this.#agents.values()) this.#show(status())
    return this.#registry.metrics()
  }

  #show({
    registrationId: id,
    connection,
    roll,
    active,
    token,
    unacknowledged,
    nextRoll,
  }: AgentStatus): void {
    const { module, label, serial } = token
    this.#set(id, 'agent_info', 1, {
      version: packageVersion(),
      module,
      token_label: label,
      token_serial: serial,
    })
    for (const phase of Object.keys(connectionPhases))
      this.#set(id, 'connection_phase', Number(phase === connection), { phase })
    for (const phase of Object.keys(rollPhases))
      this.#set(id, 'roll_phase', Number(phase === roll), { phase })
    this.#set(id, 'outbox_messages', unacknowledged)
    if (nextRoll !== null) this.#set(id, 'next_roll_timestamp_seconds', nextRoll.at / 1_000)
    if (active === null) return
    const { notAfter, chainNotAfter = notAfter } = active
    const ends: [certificate: string, end: number][] = [
      ['leaf', notAfter],
      ['chain', Math.min(notAfter, chainNotAfter)],
    ]
    for (const [certificate, end] of ends) {
      this.#set(id, 'certificate_not_after_timestamp_seconds', end / 1_000, { certificate })
      this.#set(id, 'certificate_expires_in_seconds', (end - this.#now()) / 1_000, { certificate })
    }
  }

  #set(id: string, name: NameOf<'gauge'>, value: number, labels: Labels = {}): void {
    this.#gauges.get(name)?.set({ registration_id: id, ...labels }, value)
  }

  #count(id: string, name: NameOf<'counter'>, labels: Labels, by = 1): void {
    this.#counters.get(name)?.inc({ registration_id: id, ...labels }, by)
  }

  #observe(id: string, name: NameOf<'histogram'>, labels: Labels, milliseconds: number): void {
    this.#histograms.get(name)?.observe({ registration_id: id, ...labels }, milliseconds / 1_000)
  }
}
