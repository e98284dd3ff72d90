import { dirname, resolve } from 'node:path'
import { agentOptions, type ConfiguredOptions } from './agent-options.ts'
import { checkConfiguration } from './check-configuration.ts'
import type { CheckedConfiguration, Configuration } from './configuration.ts'
import { parseFile } from './parse-file.ts'

/**
 * Reads a configuration file (`.json`, `.yaml`, `.yml` or `.toml`; docs/configuration.md) and makes the options of an
 * agent from it. Relative paths are meant from the folder of the file.
 *
 * @example
 * ```ts
 * const agent = await DeviceAgent.start(await loadConfiguration('/etc/leafkeeper/leafkeeper.yaml'))
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` that names everything that is wrong: the path of each value, what is
 * allowed, and what came, where that is no secret
 */
export async function loadConfiguration(file: string): Promise<ConfiguredOptions> {
  return agentOptions(await readConfiguration(file))
}

/** A configuration file, checked, with nothing made from it yet. */
export async function readConfiguration(file: string): Promise<CheckedConfiguration> {
  const path = resolve(file)
  return checkConfiguration(await parseFile(path), path, dirname(path))
}

/**
 * The same from an object as a configuration file holds it.
 *
 * @param folder relative paths are meant from here; default: the folder of the process
 * @example
 * ```ts
 * const options = await configure({
 *   registrationId: 'gateway-7',
 *   stateFolder: '/var/lib/leafkeeper',
 *   hsm: { module: 'softhsm', token: { label: 'gateway' }, pin: { credential: 'pin' } },
 *   provisioning: { idScope: '0ne00000A0A' },
 *   issuer: { kind: 'command', program: '/etc/leafkeeper/issue' },
 * })
 * const agent = await DeviceAgent.start({ ...options, logger: pino() })
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export async function configure(
  configuration: Configuration,
  folder = process.cwd(),
): Promise<ConfiguredOptions> {
  return agentOptions(checkConfiguration(configuration, 'The configuration', folder))
}
