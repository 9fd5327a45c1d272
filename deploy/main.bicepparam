// An example: copy it, and set what is yours. Not run, as main.bicep says.
using 'main.bicep'

param name = 'pluckit'
param openAiEndpoint = 'https://example.openai.azure.com'
param openAiAccountName = 'example'
param googleClientIds = '000000000000-example.apps.googleusercontent.com'
param corsAllowedOrigins = 'https://pluckit.example'
param adminUserIds = ''
