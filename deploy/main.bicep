// Everything that PluckIt Processor needs in Azure: Flex Consumption, Cosmos DB, storage with queues, a key vault, an identity
// with its roles, monitoring, and the settings.
//
//   az deployment group create --resource-group <group> --template-file deploy/main.bicep --parameters deploy/main.bicepparam
//
// NOT RUN: there was no Azure account to deploy it to, and no Bicep compiler (NuGet and GitHub have it; npm, PyPI, crates.io and
// Debian do not), when it was written. Checked instead: two parsers, tree-sitter-bicep 1.1 and pycep-parser 0.7, read it
// without an error (pycep-parser without @batchSize, which it knows at the top alone); every name that it uses is declared in it,
// every parameter and variable is used, and the parameter file sets no other. What it makes of the
// database and the queues comes from storage.json, which the program writes (`pluckit storage schema`) and a test compares.

targetScope = 'resourceGroup'

@description('Name of the function app; other names are made from it. 3 to 18 of a-z and 0-9.')
@minLength(3)
@maxLength(18)
param name string

@description('Where everything is.')
param location string = resourceGroup().location

@description('Address of the Azure OpenAI resource, https://<name>.openai.azure.com.')
param openAiEndpoint string

@description('Name of that resource, in this resource group, for the role of the identity. Empty if it is elsewhere.')
param openAiAccountName string = ''

@description('Deployment for the stylist.')
param openAiDeployment string = 'gpt-4.1-mini'

@description('Deployment for small tasks.')
param openAiNanoDeployment string = openAiDeployment

@description('Deployment for embeddings; its vectors have 1536 numbers.')
param openAiEmbeddingDeployment string = 'text-embedding-3-small'

@description('OAuth client ids of the web and phone clients, with commas between.')
param googleClientIds string

@description('Web origins that may call, with commas between.')
param corsAllowedOrigins string = ''

@description('Users who may use admin routes, with commas between.')
param adminUserIds string = ''

@description('Most instances of the app.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 40

@description('Memory of an instance. 2048 comes with a whole core, of which pictures make use.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Requests that an instance answers at once before the platform starts another. An open chat stream is one.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 100

@description('Whether the database bills by request. A busy one is cheaper with throughput of its own.')
param serverless bool = true

@description('Address that alerts are sent to. Empty: alerts are only shown in the portal.')
param alertEmail string = ''

@secure()
@description('Key that other services show to have garments described.')
param metadataExtractApiKey string = ''

var plan = loadJsonContent('storage.json')
// 24 characters at most.
var shortName = toLower(take(replace(name, '-', ''), 13))
var suffix = take(uniqueString(resourceGroup().id), 8)
var hostStorageName = '${shortName}hst${suffix}'
var pictureStorageName = '${shortName}pic${suffix}'
var allowedOrigins = empty(corsAllowedOrigins) ? [] : split(replace(corsAllowedOrigins, ' ', ''), ',')
var packages = 'app-package'
var roles = {
  blobDataOwner: 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  blobDataContributor: 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  queueDataContributor: '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
  tableDataContributor: '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  openAiUser: '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
  metricsPublisher: '3913510d-42f4-4e42-8a64-420c390055eb'
  keyVaultSecretsUser: '4633458b-17de-408a-b874-0445c86b69e6'
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: '${name}-identity'
  location: location
}

// --- Storage of the host: packages of the app, its secrets and leases, queues. Nothing in it is public -------------------

resource hostStorage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: hostStorageName
  location: location
  sku: { name: 'Standard_LRS' }
  kind: 'StorageV2'
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource packageContainer 'containers' = {
      name: packages
    }
  }

  resource queueService 'queueServices' = {
    name: 'default'

    resource queues 'queues' = [for queue in plan.queues: {
      name: queue
    }]
  }
}

// The host needs ownership of its blobs, including the package. A separate identity for the package would not help,
// since code in the app may use every identity of the app.
resource hostStorageRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in [
  roles.blobDataOwner
  roles.queueDataContributor
  roles.tableDataContributor
]: {
  name: guid(hostStorage.id, identity.id, role)
  scope: hostStorage
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

// --- Storage of the service: pictures, which everybody may read by their addresses, and results of long operations -------

resource pictureStorage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: pictureStorageName
  location: location
  sku: { name: 'Standard_LRS' }
  kind: 'StorageV2'
  properties: {
    // Clients show finished pictures by URL.
    allowBlobPublicAccess: true
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }

  resource blobs 'blobServices' = {
    name: 'default'

    resource containers 'containers' = [for container in plan.blobContainers: {
      name: container.name
      properties: { publicAccess: container.public ? 'Blob' : 'None' }
    }]
  }
}

resource pictureStorageRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(pictureStorage.id, identity.id, roles.blobDataContributor)
  scope: pictureStorage
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.blobDataContributor)
  }
}

// --- Secrets -------------------------------------------------------------------------------------------------------------

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: 'kv-${shortName}-${suffix}'
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
  }

  resource apiKey 'secrets' = if (!empty(metadataExtractApiKey)) {
    name: 'metadata-extract-api-key'
    properties: { value: metadataExtractApiKey }
  }
}

resource vaultRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, identity.id, roles.keyVaultSecretsUser)
  scope: vault
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.keyVaultSecretsUser)
  }
}

// --- Documents -----------------------------------------------------------------------------------------------------------

resource cosmos 'Microsoft.DocumentDB/databaseAccounts@2024-11-15' = {
  name: '${name}-${take(uniqueString(resourceGroup().id), 8)}'
  location: location
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    consistencyPolicy: { defaultConsistencyLevel: 'Session' }
    locations: [{ locationName: location, failoverPriority: 0, isZoneRedundant: false }]
    capabilities: concat(
      serverless ? [{ name: 'EnableServerless' }] : [],
      [{ name: 'EnableNoSQLVectorSearch' }]
    )
    disableLocalAuth: true
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: { tier: 'Continuous7Days' }
    }
  }

  resource database 'sqlDatabases' = {
    name: plan.database
    properties: { resource: { id: plan.database } }

    @batchSize(4)
    resource containers 'containers' = [for container in plan.containers: {
      name: container.id
      properties: { resource: container }
    }]
  }

  // Cosmos DB Built-in Data Contributor: a role of the data plane, not of Azure's resource manager.
  resource dataRole 'sqlRoleAssignments' = {
    name: guid(cosmos.id, identity.id, 'data-contributor')
    properties: {
      principalId: identity.properties.principalId
      roleDefinitionId: '${cosmos.id}/sqlRoleDefinitions/00000000-0000-0000-0000-000000000002'
      scope: cosmos.id
    }
  }
}

// --- The model -----------------------------------------------------------------------------------------------------------

resource openAi 'Microsoft.CognitiveServices/accounts@2024-10-01' existing = if (!empty(openAiAccountName)) {
  name: empty(openAiAccountName) ? 'none' : openAiAccountName
}

resource openAiRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(openAiAccountName)) {
  name: guid(resourceGroup().id, openAiAccountName, identity.id, roles.openAiUser)
  scope: openAi
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.openAiUser)
  }
}

// --- Monitoring ----------------------------------------------------------------------------------------------------------

resource logs 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: '${name}-logs'
  location: location
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: 30
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: logs.id
    DisableLocalAuth: true
  }
}

resource insightsRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, identity.id, roles.metricsPublisher)
  scope: insights
  properties: {
    principalId: identity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.metricsPublisher)
  }
}

// --- The app -------------------------------------------------------------------------------------------------------------

resource hosting 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: '${name}-plan'
  location: location
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

var settings = union(plan.settings, {
  AzureWebJobsStorage__accountName: hostStorage.name
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.properties.clientId
  StorageQueue__queueServiceUri: hostStorage.properties.primaryEndpoints.queue
  StorageQueue__credential: 'managedidentity'
  StorageQueue__clientId: identity.properties.clientId
  STORAGE_ACCOUNT_NAME: pictureStorage.name
  AZURE_CLIENT_ID: identity.properties.clientId
  AZURE_FUNCTIONS_ENVIRONMENT: 'Production'
  AzureWebJobsDisableHomepage: 'true'
  FUNCTIONS_EXTENSION_VERSION: '~4'
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
  COSMOS_DB_ENDPOINT: cosmos.properties.documentEndpoint
  COSMOS_DB_DATABASE: plan.database
  AZURE_OPENAI_ENDPOINT: openAiEndpoint
  AZURE_OPENAI_DEPLOYMENT: openAiDeployment
  AZURE_OPENAI_NANO_DEPLOYMENT: openAiNanoDeployment
  AZURE_OPENAI_EMBEDDING_DEPLOYMENT: openAiEmbeddingDeployment
  GOOGLE_ALLOWED_CLIENT_IDS: googleClientIds
  CORS_ALLOWED_ORIGINS: corsAllowedOrigins
  ADMIN_USER_IDS: adminUserIds
}, empty(metadataExtractApiKey) ? {} : {
  METADATA_EXTRACT_API_KEY: '@Microsoft.KeyVault(VaultName=${vault.name};SecretName=metadata-extract-api-key)'
})

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: hosting.id
    httpsOnly: true
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostStorage.properties.primaryEndpoints.blob}${packages}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        maximumInstanceCount: maximumInstances
        instanceMemoryMB: instanceMemoryMB
        triggers: { http: { perInstanceConcurrency: httpConcurrency } }
      }
      runtime: { name: 'custom', version: '1.0' }
    }
    keyVaultReferenceIdentity: identity.id
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
      ftpsState: 'Disabled'
      // The front end may answer preflights itself, so this is the same list as CORS_ALLOWED_ORIGINS.
      cors: { allowedOrigins: allowedOrigins, supportCredentials: !empty(allowedOrigins) }
    }
  }
  dependsOn: [hostStorageRoles, pictureStorageRole, vaultRole]

  // Deployments sign in with identities; name and password are disabled.
  resource publishing 'basicPublishingCredentialsPolicies' = [for way in ['scm', 'ftp']: {
    name: way
    properties: { allow: false }
  }]

  resource appSettings 'config' = {
    name: 'appsettings'
    properties: settings
  }
}

// --- Alerts: docs/operations.md says what each means and what to do --------------------------------------------------------

resource alertReaders 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmail)) {
  name: '${name}-alerts'
  location: 'global'
  properties: {
    groupShortName: take(name, 12)
    enabled: true
    emailReceivers: [{ name: 'operators', emailAddress: alertEmail, useCommonAlertSchema: true }]
  }
}

var actionGroups = empty(alertEmail) ? [] : [alertReaders.id]

// The service's log lines, parsed.
var lines = 'AppTraces | extend line = parse_json(Message) | where isnotempty(line.level) | extend said = tostring(line.message)'
var requests = '${lines} | where said in ("request answered", "request failed") | extend status = toint(line["http.status"])'

// Each fires when its query finds a row.
var logAlerts = [
  {
    name: '5xx'
    description: 'More than 1 % of the requests failed: a fault of the service (500) or of a dependency (503).'
    severity: 1
    window: 'PT10M'
    every: 'PT5M'
    query: '${requests} | summarize failed = countif(status >= 500), total = count() | where failed > 3 and failed * 100 > total'
  }
  {
    name: 'slow-answers'
    description: 'One in twenty turns of the stylist took more than a minute: the model server is slow.'
    severity: 2
    window: 'PT15M'
    every: 'PT5M'
    query: '${lines} | where said == "turn ended" | summarize slow = percentile(tolong(line.duration_ms), 95), turns = count() | where turns >= 10 and slow > 60000'
  }
  {
    name: 'dead-letters'
    description: 'A message could not be processed by any delivery, and is kept with its reason.'
    severity: 2
    window: 'PT10M'
    every: 'PT5M'
    query: '${lines} | where said == "message became a dead letter"'
  }
  {
    name: 'timer-missed'
    description: 'A timer has not run, or has failed, for two days.'
    severity: 2
    window: 'P2D'
    every: 'PT1H'
    query: 'datatable(name: string) ["PluckItJobSweeper", "PluckItScraper", "PluckItMoodProcessor"] | join kind=leftanti (${lines} | where said == "function done" | distinct name = tostring(line.spans[0]["function.name"])) on name'
  }
  {
    name: 'shedding'
    description: 'Requests were refused because too many were under way.'
    severity: 2
    window: 'PT10M'
    every: 'PT5M'
    query: '${lines} | where said == "request failed" and line.error startswith "The service is busy"'
  }
  {
    name: 'connections'
    description: 'Connections were not accepted: the limit of open files, or an address that has half of them.'
    severity: 2
    window: 'PT10M'
    every: 'PT5M'
    query: '${lines} | where said == "connection not accepted"'
  }
  {
    name: '429'
    description: 'More than 5 % of the requests met a limit or a budget.'
    severity: 3
    window: 'PT15M'
    every: 'PT5M'
    query: '${requests} | summarize refused = countif(status == 429), total = count() | where refused > 20 and refused * 20 > total'
  }
]

resource logAlertRules 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = [for alert in logAlerts: {
  name: '${name}-${alert.name}'
  location: location
  properties: {
    displayName: '${name}: ${alert.name}'
    description: alert.description
    severity: alert.severity
    enabled: true
    evaluationFrequency: alert.every
    windowSize: alert.window
    scopes: [logs.id]
    // The template may be deployed before the first log line, and so before the table exists.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: alert.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    actions: { actionGroups: actionGroups }
  }
}]

resource readiness 'Microsoft.Insights/webtests@2022-06-15' = {
  name: '${name}-ready'
  location: location
  kind: 'standard'
  tags: { 'hidden-link:${insights.id}': 'Resource' }
  properties: {
    SyntheticMonitorId: '${name}-ready'
    Name: '${name}-ready'
    Kind: 'standard'
    Enabled: true
    Frequency: 300
    Timeout: 30
    RetryEnabled: true
    Locations: [
      { Id: 'emea-nl-ams-azr' }
      { Id: 'us-va-ash-azr' }
      { Id: 'apac-sg-sin-azr' }
    ]
    Request: { RequestUrl: 'https://${app.properties.defaultHostName}/api/health/ready', HttpVerb: 'GET' }
    ValidationRules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 7 }
  }
}

resource notReady 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-not-ready'
  location: 'global'
  properties: {
    description: 'A dependency fails; the answer of /api/health/ready names it.'
    severity: 0
    enabled: true
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    scopes: [readiness.id, insights.id]
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: readiness.id
      componentId: insights.id
      failedLocationCount: 2
    }
    actions: [for group in actionGroups: { actionGroupId: group }]
  }
}

resource waitingMessages 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-old-messages'
  location: 'global'
  properties: {
    description: 'More than 1,000 messages wait: workers cannot keep up, or do not run.'
    severity: 2
    enabled: true
    evaluationFrequency: 'PT1H'
    windowSize: 'PT1H'
    scopes: ['${hostStorage.id}/queueServices/default']
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'waiting'
          metricNamespace: 'Microsoft.Storage/storageAccounts/queueServices'
          metricName: 'QueueMessageCount'
          timeAggregation: 'Average'
          operator: 'GreaterThan'
          threshold: 1000
        }
      ]
    }
    actions: [for group in actionGroups: { actionGroupId: group }]
  }
}

output url string = 'https://${app.properties.defaultHostName}'
output identityClientId string = identity.properties.clientId
output pictureStorageAccount string = pictureStorage.name
output hostStorageAccount string = hostStorage.name
output cosmosEndpoint string = cosmos.properties.documentEndpoint
