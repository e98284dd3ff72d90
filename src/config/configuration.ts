import * as v from 'valibot'
import { registrationIdPattern } from '../agent/registration-id.ts'
import { logLevels } from '../log/logger.ts'
import { adoptSection, hsmSection, keyType } from './hsm-section.ts'
import { issuerSection } from './issuer-section.ts'
import { members, optional, required } from './members.ts'
import { policySection } from './policy-section.ts'
import { hubSection, networkSection, provisioningSection } from './service-sections.ts'
import { duration, expected, flag, oneOf, pathFrom, text, wholeNumber, type Form } from './values.ts'

const registrationIdForm = '1 to 64 characters of A-Z a-z 0-9 - . _ : that end in a letter, a digit or a dash'

const registrationId = v.pipe(
  text,
  v.regex(registrationIdPattern, expected(registrationIdForm)),
  v.metadata<string, Form>({ form: 'text' }),
)

function metricsFile(folder: string) {
  const what = 'a path that ends in .prom'
  return v.pipe(v.string(expected(what)), v.endsWith('.prom', expected(what)), pathFrom(folder))
}

/**
 * The schema of a configuration.
 *
 * @param folder relative paths are meant from here
 */
export function configurationSchema(folder: string) {
  const path = pathFrom(folder)
  return v.pipe(
    members({
      registrationId: required(
        registrationId,
        `The registration id in DPS, and the common name of every certificate: ${registrationIdForm}.`,
      ),
      stateFolder: required(path, 'The folder for the journal and the control socket; one for each device.'),
      hsm: required(hsmSection(folder), 'The token that holds the keys.'),
      agentName: optional(text, "The name of this device's keys on the token.", 'the registration id'),
      keyType: optional(keyType, 'The type of new keys.', '`EC-P256`'),
      adopt: optional(
        adoptSection(folder),
        'A key that is on the token already and becomes the first generation.',
      ),
      provisioning: optional(provisioningSection(folder), 'DPS; without it `hub.host` names the hub.'),
      hub: optional(hubSection(), 'The hub.'),
      network: optional(networkSection(folder), 'How DPS, hubs and EST servers are reached.'),
      issuer: optional(
        issuerSection(folder),
        'Where certificates come from: one of the kinds below; or `{ bootstrap, roll }`, each one of them.',
        'nowhere: the device keeps the one it has',
      ),
      policy: optional(policySection(), 'When the agent rolls by itself, and what it does about failures.'),
      outbox: optional(
        members({
          capacity: optional(wholeNumber(1), 'Messages that may wait for their acknowledgement.', '`1000`'),
          maxBytes: optional(wholeNumber(1), 'Bytes that may wait.', '`16777216`'),
          window: optional(wholeNumber(1), 'Messages that may be on their way at once.', '`64`'),
        }),
        'Telemetry that is not acknowledged yet.',
      ),
      twin: optional(
        flag,
        'Whether the agent reports to the twin and listens there for a window to roll in; a hub of the basic tier has none.',
        '`true`',
      ),
      log: optional(
        members({ level: optional(oneOf(logLevels), 'Lines below it are left out.', '`info`') }),
        'Lines of JSON on standard output.',
      ),
      metrics: optional(
        members({
          port: optional(
            wholeNumber(0, 65_535),
            'Served at `http://127.0.0.1:PORT/metrics`; 0 takes any that is free.',
          ),
          file: optional(
            metricsFile(folder),
            "For node_exporter's textfile collector; its name ends in `.prom`.",
          ),
          interval: optional(duration({ least: 100 }), 'How often the file is written.', '`15s`'),
        }),
        'Where metrics for Prometheus can be had.',
        'nowhere',
      ),
    }),
    v.check(
      ({ provisioning, hub }) => (provisioning === undefined) !== (hub?.host === undefined),
      'Expected provisioning, or hub.host for a device that does not use DPS: one of both.',
    ),
  )
}

/** A configuration as it stands in a file: durations and percentages as text, paths relative to the file. */
export type Configuration = v.InferInput<ReturnType<typeof configurationSchema>>

/** A configuration that was checked: durations in milliseconds, paths absolute. */
export type CheckedConfiguration = v.InferOutput<ReturnType<typeof configurationSchema>>
