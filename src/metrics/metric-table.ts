/** One metric: what Prometheus shows of it. */
export interface MetricRow {
  readonly type: 'gauge' | 'counter' | 'histogram'
  readonly help: string
  /** Besides `registration_id`, which every metric has. */
  readonly labels: readonly string[]
  /** Upper bounds of a histogram, in seconds. */
  readonly buckets?: readonly number[]
}

type RowOf<Type extends MetricRow['type']> = MetricRow & { readonly type: Type }

const gauge = (help: string, ...labels: string[]): RowOf<'gauge'> => ({ type: 'gauge', help, labels })
const counter = (help: string, ...labels: string[]): RowOf<'counter'> => ({ type: 'counter', help, labels })
const histogram = (buckets: readonly number[], help: string, ...labels: string[]): RowOf<'histogram'> => ({
  type: 'histogram',
  help,
  labels,
  buckets,
})

/** Every metric, by its name without the prefix `leafkeeper_`. docs/metrics.md shows this table. */
export const metricTable = {
  agent_info: gauge('Always 1; says what the agent is.', 'version', 'module', 'token_label', 'token_serial'),
  connection_phase: gauge('1 for the phase that the connection is in, 0 for the others.', 'phase'),
  roll_phase: gauge('1 for the phase that the roll is in, 0 for the others.', 'phase'),
  certificate_expires_in_seconds: gauge(
    'Time until the certificate in use expires, and the first one of its chain; negative once it has.',
    'certificate',
  ),
  certificate_not_after_timestamp_seconds: gauge(
    'When the certificate in use expires, and the first one of its chain.',
    'certificate',
  ),
  next_roll_timestamp_seconds: gauge('When the agent will roll by itself; absent where it will not.'),
  outbox_messages: gauge('Messages that the hub has not acknowledged yet.'),
  rolls_total: counter('Rolls that have ended: succeeded, or failed with a code.', 'mode', 'result', 'code'),
  roll_duration_seconds: histogram(
    [1, 5, 15, 60, 300, 1_800, 3_600, 21_600, 86_400, 604_800],
    'From the start of a roll until a hub has accepted the new certificate.',
    'mode',
  ),
  roll_blackout_seconds: histogram(
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300],
    'Time without a usable hub connection while a roll switched certificates.',
  ),
  retries_total: counter('Things that failed and were put off to be tried again.', 'what'),
  errors_total: counter(
    'Failures, by what the agent was doing: register is DPS, connectHub the hub, requestCertificate the issuer.',
    'during',
    'code',
  ),
  disconnections_total: counter('Hub connections that were up and have ended.', 'code'),
  hsm_call_duration_seconds: histogram(
    [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    'Calls to the token, the wait for a free session included; not those of OpenSSL in TLS handshakes.',
    'operation',
    'result',
  ),
  start_failures_total: counter('Starts of the agent that failed.', 'code'),
} as const satisfies Record<string, MetricRow>

export type MetricName = keyof typeof metricTable
