import * as v from 'valibot'
import { LeafkeeperError } from '../errors.ts'
import { configurationSchema, type CheckedConfiguration } from './configuration.ts'
import { pathMark } from './values.ts'

/**
 * Checks a configuration, and makes its paths absolute.
 *
 * @param source names it in errors
 * @param folder relative paths are meant from here
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` that names everything that is wrong: the path of each value, what is
 * allowed, and what came, where that is no secret
 */
export function checkConfiguration(value: unknown, source: string, folder: string): CheckedConfiguration {
  const result = v.safeParse(configurationSchema(folder), value)
  if (result.success) return result.output
  const problems = [...new Set(result.issues.map(inWords))]
  const [first] = problems
  throw invalid(
    problems.length === 1
      ? `${source} is not valid: ${first}`
      : `${source} is not valid in ${problems.length} places:\n${problems.map((problem) => `- ${problem}\n`).join('')}`,
  )
}

function inWords({ message, path }: v.BaseIssue<unknown>): string {
  return message.replace(pathMark, () => (path === undefined ? 'it' : dotted(path)))
}

/** `issuer.arguments[0]`; a name that is not a plain word in brackets, since it may have dots itself. */
function dotted(path: readonly v.IssuePathItem[]): string {
  return path
    .map(({ key, input }) => {
      if (Array.isArray(input)) return `[${String(key)}]`
      return /^\w+$/.test(String(key)) ? `.${String(key)}` : `[${JSON.stringify(key)}]`
    })
    .join('')
    .replace(/^\./, '')
}

function invalid(message: string): LeafkeeperError {
  return new LeafkeeperError('AGENT_CONFIG_INVALID', { message })
}
